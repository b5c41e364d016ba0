import { Directory } from '../../src/escrow/directory.js';
import { parsePolicy } from '../../src/http/policyDocument.js';
import type { Database } from '../../src/postgres/database.js';
import { openOn } from '../postgres/fixtures.js';
import { writeOf } from '../postgres/records.js';
import type { TestServer } from '../support/postgres.js';
import { startTestServer } from '../support/postgres.js';
import { softwareSigner } from '../support/signer.js';
import { problemCode, signedCall } from './apiClient.js';
import type { Identity } from './identities.js';
import { newIdentity, NOW, ORIGIN } from './identities.js';
import { PEOPLE, policy, policyDocument } from './people.js';
import type { Running } from './runningServer.js';
import { startServer } from './runningServer.js';
import { newWorld } from './world.js';
import { LIMITS_MS } from '../support/limits.js';

jest.setTimeout(LIMITS_MS.database);

/* Two daemons with a database in common: what one of them puts in force, or has seen, holds on the other. */

let postgres: TestServer;
const databases: Database[] = [];
const servers: Running[] = [];
let before = policy(0);

beforeAll(async () => {
  postgres = await startTestServer();
  const signer = softwareSigner();
  for (let at = 0; at < 2; at += 1) {
    const database = await openOn(postgres, signer);
    databases.push(database);
    servers.push(await daemonOn(database));
  }
  await apply(policyDocument());
});
afterAll(async () => {
  for (const server of servers) await server.stop();
  for (const database of databases) await database.close();
  await postgres.stop();
});

/** A daemon as far as callers see it: its own directory, on the records and the log of the database. */
function daemonOn({ store, log }: Database): Promise<Running> {
  const world = newWorld();
  const statements = {
    verify: (jws: string) =>
      Promise.resolve({ jws, payload: JSON.parse(jws) as Readonly<Record<string, unknown>> }),
  };
  const directory = new Directory(store, parsePolicy, policy(0), { statements, logKey: ORIGIN });
  return startServer({}, { ...world, escrow: { ...world.escrow, store, log, directory } });
}

/** Has the first daemon put a document in force that both administrators have signed. */
async function apply(content: object): Promise<void> {
  const document = JSON.stringify(content);
  const next = parsePolicy(document, before.version + 1);
  const { version, hash } = next;
  const signatures = ['ann', 'bob'].map((iss) =>
    JSON.stringify({ iss, aud: ORIGIN, hash, base: before.version, replaces: before.hash, exp: 0 }),
  );
  const [first] = databases;
  await first?.journal.append(
    writeOf('alone', {
      changes: [{ change: 'policy-applied', version, hash, document, signatures, at: NOW }],
    }),
  );
  before = next;
}

/** The document in which olga has these keys. */
function withKeys(keys: readonly Identity[]): object {
  const document = policyDocument();
  return {
    ...document,
    principals: document.principals.map((one) =>
      one['id'] === 'olga' ? { ...one, keys: keys.map(({ jwk, alg }) => ({ ...jwk, alg })) } : one,
    ),
  };
}

/** What each daemon answers to the same question of this person. */
async function answersTo(person: Identity): Promise<readonly string[]> {
  const answers: string[] = [];
  for (const { client } of servers) {
    const answer = await client.call(person, 'GET', '/v1/keys');
    answers.push(answer.status === 200 ? 'let in' : problemCode(answer));
  }
  return answers;
}

test('a key that one daemon puts in the place of another holds on both at once, and the old one on neither', async () => {
  const fresh = newIdentity('olga');
  expect(await answersTo(PEOPLE.olga)).toEqual(['let in', 'let in']);
  expect(await answersTo(fresh)).toEqual(['caller-unknown', 'caller-unknown']);
  await apply(withKeys([fresh]));
  expect(await answersTo(PEOPLE.olga)).toEqual(['caller-unknown', 'caller-unknown']);
  expect(await answersTo(fresh)).toEqual(['let in', 'let in']);
  await apply(withKeys([]));
  expect(await answersTo(fresh)).toEqual(['caller-unknown', 'caller-unknown']);
  await apply(withKeys([PEOPLE.olga]));
  expect(await answersTo(PEOPLE.olga)).toEqual(['let in', 'let in']);
});

test('a request that one daemon has answered is a replay on the other', async () => {
  const request = signedCall(PEOPLE.olga, 'GET', '/v1/keys');
  const [one, other] = servers;
  expect((await one?.client.send(request))?.status).toBe(200);
  const again = await other?.client.send(request);
  expect(again && [again.status, problemCode(again)]).toEqual([401, 'request-replayed']);
});
