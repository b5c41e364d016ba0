import { z } from 'zod';

import { TAKING_AWAY } from '../../../src/escrow/ledger/means.js';
import { API_ROLES } from '../../../src/escrow/records/principals.js';
import { routesOf } from '../../../src/http/routes/index.js';
import { ApiClient, problemCode } from '../apiClient.js';
import { NOW } from '../identities.js';
import { PEOPLE } from '../people.js';
import type { Running } from '../runningServer.js';
import { startServer, tls } from '../runningServer.js';
import { selfSigned, thumbprintOf } from '../../support/certificate.js';
import { bindCertificates } from '../boundCertificates.js';
import { GRANT, KEY, RECOVERY } from '../world.js';

/** Route by route, who gets in and what a refusal is logged as. Who is not named here does not get in. */
const OPEN_TO: Readonly<Record<string, readonly [act: string, ...roles: string[]]>> = {
  'POST /v1/policy': ['policy.apply', 'admin'],
  'GET /v1/policy': ['policy.read', 'admin', 'auditor'],
  'POST /v1/policy/choice': ['policy.read', 'admin'],
  'POST /v1/policy/plan': ['policy.read', 'admin', 'auditor'],
  'GET /v1/policy/standing': ['policy.read', 'admin', 'auditor'],
  'GET /v1/policy/warnings': ['policy.read', 'admin', 'depositary', 'owner', 'app', 'auditor'],
  'GET /v1/policy/history': ['policy.read', 'admin', 'auditor'],
  'POST /v1/keys': ['key.generate', 'admin', 'owner'],
  'POST /v1/imports': ['import.prepare', 'admin', 'owner'],
  'POST /v1/imports/:import/key': ['key.import', 'admin', 'owner'],
  'POST /v1/imports/:import/secret': ['key.import', 'admin', 'owner'],
  'GET /v1/keys': ['key.read', 'admin', 'auditor', 'owner', 'depositary'],
  'GET /v1/keys/:key/public-key': ['key.read', 'admin', 'auditor', 'owner', 'depositary', 'app'],
  'GET /v1/keys/:key': ['key.read', 'admin', 'auditor', 'owner', 'depositary'],
  'GET /v1/coverage': ['key.read', 'admin', 'auditor', 'owner'],
  'GET /v1/drills': ['key.read', 'admin', 'auditor', 'owner', 'depositary', 'app'],
  'POST /v1/drills': ['key.drill', 'depositary'],
  'POST /v1/recoveries': ['recovery.request', 'admin', 'depositary', 'app'],
  'GET /v1/recoveries': ['recovery.read', 'admin', 'auditor', 'owner', 'depositary', 'app'],
  'GET /v1/recoveries/:recovery': ['recovery.read', 'admin', 'auditor', 'owner', 'depositary', 'app'],
  'POST /v1/recoveries/:recovery/approvals': ['recovery.approve', 'depositary'],
  'POST /v1/recoveries/:recovery/intents': ['recovery.intend', 'depositary'],
  'POST /v1/recoveries/:recovery/denials': ['recovery.deny', 'depositary'],
  'POST /v1/recoveries/:recovery/veto': ['recovery.veto', 'owner'],
  'POST /v1/recoveries/:recovery/cancel': ['recovery.cancel', 'admin', 'depositary', 'app'],
  'POST /v1/recoveries/:recovery/stop': ['recovery.stop', 'admin'],
  'POST /v1/recoveries/:recovery/activate': ['recovery.activate', 'admin', 'depositary', 'app'],
  'POST /v1/recoveries/:recovery/release': ['recovery.release', 'depositary'],
  'POST /v1/recoveries/:recovery/reseal': ['recovery.reseal', 'admin', 'depositary', 'app'],
  'POST /v1/recoveries/:recovery/confirmation': ['recovery.confirm', 'depositary'],
  'GET /v1/grants': ['grant.read', 'admin', 'auditor', 'owner', 'depositary', 'app'],
  'GET /v1/grants/:grant': ['grant.read', 'admin', 'auditor', 'owner', 'depositary', 'app'],
  'POST /v1/grants/:grant/revoke': ['grant.revoke', 'owner', 'admin', 'depositary'],
  'POST /v1/grants/:grant/sign': ['grant.sign', 'app'],
  'POST /v1/keys/:key/sign': ['grant.sign', 'app'],
  'POST /v1/keys/:key/decrypt': ['grant.decrypt', 'app'],
  'POST /v1/grants/:grant/decrypt': ['grant.decrypt', 'app'],
  'GET /v1/history': ['history.read', 'owner'],
  'POST /v1/history/statement': ['history.attest', 'owner'],
  'GET /v1/notifications/given-up': ['notification.read', 'admin', 'auditor'],
  'POST /v1/acknowledgements': ['depositary.acknowledge', 'depositary'],
  'POST /v1/notifications/redeliver': ['notification.redeliver', 'admin'],
  'GET /v1/log/entries': ['log.read', 'auditor'],
  'GET /v1/log/tile/entries/*tile': ['log.read', 'auditor'],
  'GET /v1/log/policies': ['log.read', 'auditor'],
};
const PUBLIC = [
  'GET /v1/server',
  'GET /v1/checkpoint',
  'GET /v1/log/checkpoint',
  'GET /v1/log/consistency',
  'GET /v1/log/tile/*tile',
];

let running: Running;
let client: ApiClient;
let certified: ApiClient;
const certificate = selfSigned();
/** Open without a signature to an app with a certificate of its own. */
const BY_CERTIFICATE = [
  ...['POST /v1/grants/:grant/sign', 'POST /v1/grants/:grant/decrypt'],
  ...['POST /v1/keys/:key/sign', 'POST /v1/keys/:key/decrypt'],
  ...['GET /v1/grants', 'GET /v1/grants/:grant', 'GET /v1/keys/:key/public-key'],
];

beforeAll(async () => {
  running = await startServer();
  bindCertificates(running.world, { mailer: [thumbprintOf(certificate.cert)] });
  client = new ApiClient(running.port, tls.cert, true);
  certified = new ApiClient(running.port, tls.cert, true, certificate);
});
afterAll(async () => {
  client.close();
  certified.close();
  await running.stop();
});
/** What was logged since the last test. */
const newlyLogged = (): object[] =>
  running.world.journal.entries
    .splice(0)
    .map(({ act, phase, actor, error }) => ({ act, phase, actor, error }));

test('the table of routes is exactly this one', () => {
  const routes = routesOf({ identityKey: {}, logKey: '' });
  const signed = routes.filter(({ access }) => access !== 'public');
  const names = (list: typeof routes): string[] => list.map(({ method, path }) => `${method} ${path}`).sort();
  expect(names(signed)).toEqual(Object.keys(OPEN_TO).sort());
  expect(names(routes.filter((route) => !signed.includes(route)))).toEqual([...PUBLIC].sort());
});

const people = [PEOPLE.ann, PEOPLE.olga, PEOPLE.dave, PEOPLE.mailer, PEOPLE.zed, PEOPLE.gus] as const;

test('everybody of the table below has one role, and one has none that the API knows', () => {
  const roles = people.flatMap((person) => [...person.roles] as string[]);
  expect(roles.sort()).toEqual([...API_ROLES, 'gardener'].sort());
});

describe.each(Object.entries(OPEN_TO))('%s', (name, [act, ...roles]) => {
  const [method = '', path = ''] = name.split(' ');
  const filled = path
    .replace(':key', KEY)
    .replace(':recovery', RECOVERY)
    .replace(':grant', GRANT)
    .replace(':import', `imp_${'1'.repeat(32)}`)
    .replace('*tile', '000');
  // what nobody may ask: who gets in is told so, who does not is not even heard
  const target = method === 'GET' ? `${filled}?unknown=1` : filled;
  const content = method === 'GET' ? undefined : { unknown: 1 };

  test.each(people)('is open to $id ($roles) only by the table', async (person) => {
    const isOpen = person.roles.some((role) => roles.includes(role));
    const answer = await client.call(person, method, target, content);
    expect(problemCode(answer)).toBe(isOpen ? 'request-malformed' : 'forbidden');
    expect(answer.status).toBe(isOpen ? 400 : 403);
    const isRecorded = !isOpen || (method === 'POST' && act !== 'policy.read');
    const error = isOpen ? 'request-malformed' : 'forbidden';
    expect(newlyLogged()).toEqual(isRecorded ? [{ act, phase: 'denied', actor: person.id, error }] : []);
  });

  test('is closed to who does not sign', async () => {
    const answer = await client.send({ method, target });
    expect([answer.status, problemCode(answer)]).toEqual([401, 'request-unsigned']);
    expect(answer.headers['www-authenticate']).toBe('Escrowd-JWS');
    expect(newlyLogged()).toEqual([]);
  });

  test('is open to an app that shows its certificate only by the table', async () => {
    // the certificate is of the world's own time
    running.world.now = new Date();
    const json = { 'content-type': 'application/json' };
    const answer = await certified.send({
      method,
      target,
      ...(content === undefined ? {} : { body: JSON.stringify(content), headers: json }),
    });
    running.world.now = NOW;
    const isOpen = BY_CERTIFICATE.includes(name);
    expect([answer.status, problemCode(answer)]).toEqual(
      isOpen ? [400, 'request-malformed'] : [401, 'request-unsigned'],
    );
    const recorded = { act, phase: 'denied', actor: 'mailer', error: 'request-malformed' };
    // of what is only read, what is refused for its form is not recorded
    expect(newlyLogged()).toEqual(isOpen && method === 'POST' ? [recorded] : []);
    if (!isOpen)
      expect(answer.json?.['detail']).toMatch(/client certificate is enough to sign and to decrypt/);
  });
});

test('every act that takes something away is answered with the proof that it is in the log, and no other is', () => {
  const proven = routesOf({ identityKey: {}, logKey: '' }).filter(({ success: { reply } }) => {
    const { properties } = z.toJSONSchema(reply, { io: 'input', unrepresentable: 'any' });
    return properties !== undefined && 'entry' in properties && 'proof' in properties;
  });
  const acts = proven.map(({ access }) => (access === 'public' ? 'public' : access.act));
  expect(acts.sort()).toEqual([...TAKING_AWAY].sort());
});

describe('what a refused request says it is about', () => {
  const other = `grant_${'5'.repeat(32)}`;
  const elsewhere = `rec_${'6'.repeat(32)}`;
  const surplus = { recovery: elsewhere, grant: other, key: KEY, keys: [KEY], owner: 'oscar' };
  const subjects = async (
    person: (typeof people)[number],
    target: string,
    content: object,
  ): Promise<unknown> => {
    const answer = await client.call(person, 'POST', target, content);
    expect(answer.status).toBeGreaterThanOrEqual(400);
    return running.world.journal.entries.splice(0).map(({ subject }) => subject);
  };

  test('is what the path names, and none of the members that the route does not have', async () => {
    const { ann, mailer } = PEOPLE;
    const approvals = `/v1/recoveries/${elsewhere}/approvals`;
    expect(await subjects(mailer, `/v1/grants/${other}/sign`, surplus)).toEqual([{ grant: other }]);
    expect(await subjects(ann, approvals, { ...surplus, recovery: RECOVERY })).toEqual([
      { recovery: elsewhere },
    ]);
  });

  test('is in the members that the route has: the keys of a request, the owner of a key to be made', async () => {
    const { ann, olga, mailer } = PEOPLE;
    const unknown = `key_${'7'.repeat(32)}`;
    expect(await subjects(olga, '/v1/recoveries', { ...surplus, keys: [unknown] })).toEqual([
      { keys: [unknown] },
    ]);
    expect(await subjects(olga, '/v1/recoveries', surplus)).toEqual([{ keys: [KEY], owner: 'olga' }]);
    expect(await subjects(mailer, '/v1/keys', surplus)).toEqual([{ owner: 'oscar' }]);
    expect(await subjects(ann, '/v1/policy', surplus)).toEqual([{}]);
  });
});

test.each([
  ['GET', '/'],
  ['GET', '/v1'],
  ['GET', '/v1/keys/'],
  ['GET', '/V1/keys'],
  ['GET', '//v1/keys'],
  ['POST', '/v1/nowhere'],
  ['HEAD', '/v1/nowhere'],
  ['OPTIONS', '/v1/nowhere'],
])('%s %s is no route', async (method, target) => {
  const answer = await client.send({ method, target });
  expect(answer.status).toBe(404);
  if (method !== 'HEAD') expect(problemCode(answer)).toBe('route-unknown');
});
