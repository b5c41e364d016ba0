import { problemCode } from './apiClient.js';
import type { PolicyDocument } from './people.js';
import { PEOPLE, policy, policyDocument } from './people.js';
import type { Running } from './runningServer.js';
import { startServer } from './runningServer.js';
import { newWorld } from './world.js';

const { ann, zed } = PEOPLE;
/** With a third administrator, who must sign as well; `gus` is a person, or an app. */
const ofThree = (kind = 'person'): PolicyDocument => ({
  ...policyDocument(),
  administration: { quorum: 3, floor: 3, minimumQuorum: 1 },
  principals: policyDocument().principals.map((one) => {
    if (one['id'] === 'zed') return { ...one, roles: ['auditor', 'admin'] };
    return one['id'] === 'gus' ? { ...one, kind } : one;
  }),
});
let running: Running;

beforeAll(async () => {
  running = await startServer({}, newWorld(3));
});
afterAll(() => running.stop());

const planned = (document: object): ReturnType<Running['client']['call']> =>
  running.client.call(ann, 'POST', '/v1/policy/plan', { document });

test('a plan names what would be signed, and on top of what; nothing is logged', async () => {
  const { version, hash } = policy();
  const document = ofThree();
  const answer = await planned(document);
  expect(answer.json).toEqual({
    hash: expect.stringMatching(/^[0-9a-f]{64}$/) as string,
    base: version,
    replaces: hash,
    signersNeeded: 3,
  });
  const same = await running.client.call(zed, 'POST', '/v1/policy/plan', { document });
  expect(same.json).toEqual(answer.json);
  expect(running.world.journal.entries).toEqual([]);
});

test('a plan below the floor of the configuration, or with an id of another, is refused as it would be when it is applied', async () => {
  const below = await planned(policyDocument());
  expect([below.status, problemCode(below)]).toEqual([422, 'policy-invalid']);
  expect(below.json?.['detail']).toBe(
    'administration.quorum: 2 is below the floor of 3 that the daemon is configured with.',
  );
  const taken = await planned(ofThree('app'));
  expect(problemCode(taken)).toBe('policy-invalid');
  expect(taken.json?.['detail']).toMatch(/gus was a person before/);
  expect(problemCode(await planned({ version: 1 }))).toBe('policy-invalid');
});

test('rules by which one person decides alone are refused, planned or applied, unless the document says 1', async () => {
  const administration = { quorum: 3, floor: 3 };
  const plan = await planned({ ...ofThree(), administration });
  const detail = 'rule others, for oscar, olga: dana alone suffices, and administration.minimumQuorum is 2.';
  expect([plan.status, problemCode(plan), plan.json?.['detail']]).toEqual([422, 'policy-invalid', detail]);
  const order = { document: { ...ofThree(), administration }, signatures: ['a.b.c'] };
  const applied = await running.client.call(ann, 'POST', '/v1/policy', order);
  expect([problemCode(applied), applied.json?.['detail']]).toEqual(['policy-invalid', detail]);
  expect((await planned(ofThree())).status).toBe(200);
});
