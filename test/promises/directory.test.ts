import { openRelease } from '../../src/client/depositary/release.js';
import { canonicalHash } from '../../src/escrow/records/digests.js';
import { PolicyNotSigned } from '../../src/escrow/directory.js';
import { exitCodeOf } from '../../src/daemon/exitCodes.js';
import type { Json } from '../../src/log/entry/canonical.js';
import { createOperatorLog } from '../../src/daemon/operatorLog.js';
import { ownerOf } from '../support/databaseDump.js';
import { makeKey } from '../support/life.js';
import { query } from '../support/postgres.js';
import type { System } from '../support/system.js';
import { makeSystem } from '../support/system.js';
import { rsaPair } from '../support/rsaPairs.js';
import { LIMITS_MS } from '../support/limits.js';

jest.setTimeout(LIMITS_MS.system);

/*
 * The directory and the rules stand in the database. Whoever has the database, with every right of the role that owns it,
 * puts in what they like: a delivery key, for one, to which new keys would go.
 */
interface Principal extends Record<string, unknown> {
  readonly id: string;
}

let system: System;

beforeAll(async () => {
  const operatorLog = createOperatorLog('error', true);
  operatorLog.silent = true; // it is told of each of these
  system = await makeSystem({ operatorLog });
  expect((await system.client('admin-1').policy()).version).toBe(1);
});

afterAll(() => system.remove());

test('a version that nobody signed is not followed, though the daemon itself could write one', async () => {
  await withoutGuard([
    `insert into policy (version, hash, document, signatures)
     select 2, hash, document, signatures from policy where version = 1`,
  ]);
  // the log says which is the newest
  const { rule } = await makeKey(system, { spec: 'ec-p256', use: 'sign' });
  expect(rule.policyVersion).toBe(1);
  await withoutGuard(['delete from policy where version = 2']);
  expect((await makeKey(system, { spec: 'ec-p256', use: 'sign' })).rule.policyVersion).toBe(1);
});

test("an owner's delivery key that was swapped gets no key from a daemon that runs", async () => {
  await withoutGuard([await rewriting(stealDelivery)]);
  const { key } = await makeKey(system, { spec: 'rsa-2048', use: 'decrypt', deliver: true });
  const { ownersCopy, publicKeyPem } = await system.client('owner').key(key);
  if (ownersCopy === undefined) throw new Error('not delivered');
  expect(() => openRelease(ownersCopy, thief.privateKey, { publicKeyPem })).toThrow();
  const owners = await system.identity('owner').deliveryKey();
  expect(openRelease(ownersCopy, owners, { publicKeyPem }).kind).toBe('pair');
});

test('and a daemon does not start with it', async () => {
  await system.stopDaemon();
  const refusal: unknown = await system.startDaemon().catch((error: unknown) => error);
  expect(refusal).toBeInstanceOf(PolicyNotSigned);
  expect(exitCodeOf(refusal)).toBe(9);
});

const thief = rsaPair(2048);

function stealDelivery(person: Principal): Principal {
  if (person.id !== 'owner') return person;
  return { ...person, deliveryKey: thief.publicKey.export({ type: 'spki', format: 'pem' }) };
}

/** SQL that writes a changed document over the one in force, with its right hash. */
async function rewriting(change: (person: Principal) => Principal): Promise<string> {
  const [row] = await query<{ document: string }>(
    await ownerOf(system),
    'select document from policy where version = 1',
  );
  const document = JSON.parse(row?.document ?? '') as { principals: Principal[] };
  document.principals = document.principals.map(change);
  const text = JSON.stringify(document);
  const hash = canonicalHash(document as unknown as Json);
  return `update policy set document = $text$${text}$text$, hash = '${hash}' where version = 1`;
}

/** As the role that owns the table, which can take off the guard that makes it append-only. */
async function withoutGuard(statements: readonly string[]): Promise<void> {
  const owner = await ownerOf(system);
  await query(owner, 'alter table policy disable trigger append_only');
  for (const sql of statements) await query(owner, sql);
  await query(owner, 'alter table policy enable always trigger append_only');
}
