import { problemCode } from './apiClient.js';
import type { PolicyDocument } from './people.js';
import { PEOPLE, policy, policyDocument } from './people.js';
import type { Running } from './runningServer.js';
import { startServer } from './runningServer.js';
import { KEY, newWorld } from './world.js';

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
    losses: { lost: 0, oneQuorum: 0, singlePoint: 0, isTokenAsked: true, keys: [] },
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

test('a plan names the keys that nobody could bring back, and only their number puts it in force', async () => {
  const { world } = running;
  const { enrolled } = world.escrow.token;
  world.escrow.token.enrolled = async () => [
    ...(await enrolled()),
    ...['dave'].map((id) => ({ id: id as never, publicKey: Buffer.of(), fingerprint: 'ab'.repeat(32) })),
  ];
  // dave has the key that his share went to; then he is none of the depositaries
  const listed = ofThree();
  const without = {
    ...listed,
    principals: listed.principals.map((one) => (one['id'] === 'dave' ? { ...one, roles: ['owner'] } : one)),
  };
  const current = running.world.escrow.directory.last;
  const dave = current.principals.get('dave' as never);
  const principals = new Map([...current.principals]);
  if (dave !== undefined) principals.set(dave.id, { ...dave, depositaryKey: 'ab'.repeat(32) });
  const inForce = jest.spyOn(world.escrow.directory, 'current');
  inForce.mockResolvedValue({ ...current, principals });
  try {
    const answer = await planned(without);
    const left = { live: [], singlePoints: [], unable: [{ depositary: 'dave', because: 'not-depositary' }] };
    expect(answer.json?.['losses']).toEqual({
      ...{ lost: 1, oneQuorum: 0, singlePoint: 0, isTokenAsked: true },
      keys: [
        {
          ...{ key: KEY, owner: 'olga', label: 'mail' },
          purposes: ['operate', 'release'].map((purpose) => ({
            ...{ purpose, before: 'one-quorum', after: 'lost', ...left },
          })),
        },
      ],
    });
  } finally {
    inForce.mockRestore();
    world.escrow.token.enrolled = enrolled;
  }
});
