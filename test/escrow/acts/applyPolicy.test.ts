import { applyPolicy } from '../../../src/escrow/acts/applyPolicy.js';
import type { ErrorCode } from '../../../src/escrow/records/errors.js';
import type { Policy } from '../../../src/escrow/records/policy.js';
import { callOf, newScene, POLICY, policyWith } from '../../adversary/database/scene.js';
import { entriesOf } from '../../adversary/database/loggedActs.js';
import { generateKey } from '../../../src/escrow/acts/generateKey.js';
import { planPolicy } from '../../../src/escrow/acts/applyPolicy.js';
import { EscrowError } from '../../../src/escrow/records/errors.js';
import type { SymbolicWorld } from '../symbolicWorld.js';
import { ORIGIN } from '../symbolicWorld.js';
import { expectDone, expectRefused } from './actCases.js';

const HASH = 'ab'.repeat(32);
const next: Policy = { ...POLICY, version: POLICY.version + 1, hash: HASH };

/** What an administrator signs; `claims` replaces what it says. */
function signed({ now }: SymbolicWorld, by: string, claims: object = {}, typ = 'escrowd-policy+jwt'): string {
  const iat = now.getTime() / 1000;
  const says = { iss: by, aud: ORIGIN, iat, exp: iat + 60, hash: HASH };
  const payload = { ...says, base: POLICY.version, replaces: POLICY.hash, ...claims };
  return JSON.stringify({ typ, by, payload });
}

function apply(
  world: SymbolicWorld,
  by: string,
  signatures: readonly string[],
  policy: Policy = next,
  document: object = {},
  acceptUnrecoverable = 0,
): Promise<unknown> {
  const order = { document: document as never, signatures, acceptUnrecoverable };
  return applyPolicy(world.escrow, callOf(by), () => policy, order);
}

test('puts in force what two administrators have signed', async () => {
  const { world } = await newScene();
  const signatures = ['ann', 'bob'].map((by) => signed(world, by));
  const [attempted, done] = await expectDone(world, 'policy.apply', () => apply(world, 'ann', signatures));
  expect(attempted).toMatchObject({
    actor: 'ann',
    detail: { version: 2, policyHash: HASH, replaces: POLICY.hash, signers: ['ann', 'bob'], signatures },
  });
  expect(done).toMatchObject({ digest: HASH, detail: { version: 2, policyHash: HASH } });
  expect(world.journal.policyVersion).toBe(2);
});

interface Refused {
  readonly code: ErrorCode;
  readonly by?: string;
  readonly signatures?: (world: SymbolicWorld) => readonly string[];
  readonly policy?: Policy;
  readonly document?: object;
  readonly before?: (world: SymbolicWorld) => void;
}

const missing = (signatures: Refused['signatures'] & object): Refused => ({
  code: 'policy-signatures-missing',
  signatures,
});

const REFUSED: Readonly<Record<string, Refused>> = {
  'by somebody who is no administrator': { code: 'forbidden', by: 'olga' },
  'without signatures': missing(() => []),
  'with one': missing((world) => [signed(world, 'ann')]),
  'with one twice': missing((world) => [signed(world, 'ann'), signed(world, 'ann')]),
  'with one of somebody who is no administrator': missing((world) => [
    ...[signed(world, 'ann'), signed(world, 'dana')],
  ]),
  'with one in the name of another': missing((world) => [
    ...[signed(world, 'ann'), signed(world, 'bob', { iss: 'ann' })],
  ]),
  'with one of another document': missing((world) => [
    ...[signed(world, 'ann'), signed(world, 'bob', { hash: 'cd'.repeat(32) })],
  ]),
  'with one of another kind': missing((world) => [
    ...[signed(world, 'ann'), signed(world, 'bob', {}, 'escrowd-stop+jwt')],
  ]),
  'with one for another log': missing((world) => [
    ...[signed(world, 'ann'), signed(world, 'bob', { aud: 'other.test/log' })],
  ]),
  'with one whose time is over': missing((world) => [
    ...[signed(world, 'ann'), signed(world, 'bob', { exp: world.now.getTime() / 1000 })],
  ]),
  'signed on top of another version': {
    code: 'policy-stale',
    signatures: (world) => ['ann', 'bob'].map((by) => signed(world, by, { base: 0 })),
  },
  'signed on top of another policy of this version': {
    code: 'policy-stale',
    signatures: (world) => ['ann', 'bob'].map((by) => signed(world, by, { replaces: HASH })),
  },
  'with fewer signers from then on than the daemon is configured with': {
    code: 'policy-invalid',
    policy: { ...next, administration: { ...next.administration, quorum: 1 } },
  },
  'with quorums that are smaller than it says': {
    code: 'policy-invalid',
    policy: { ...next, administration: { ...next.administration, minimumQuorum: 3 } },
  },
  'with a text that is not seen': { code: 'policy-invalid', document: { name: 'a\u200bb' } },
  'with an id that was somebody else’s': {
    code: 'policy-invalid',
    before: ({ escrow }) => {
      escrow.directory.idProblem = () => Promise.resolve('dana was another');
    },
  },
};

test.each(Object.entries(REFUSED))('is refused: %s', async (_what, { code, by = 'ann', before, ...how }) => {
  const { world } = await newScene();
  before?.(world);
  const signatures = how.signatures?.(world) ?? ['ann', 'bob'].map((signer) => signed(world, signer));
  await expectRefused(world, 'policy.apply', code, () =>
    apply(world, by, signatures, how.policy, how.document),
  );
  expect(world.journal.policyVersion).toBe(POLICY.version);
});

/* ------------------------------------------------ keys that nobody could bring back */

/** Two of three bring each of the two keys back: without two of them nobody does. */
const losing: Policy = { ...policyWith({ removed: ['dave', 'dora'] }), hash: HASH };

function applyLosing(world: SymbolicWorld, accepted: number, policy = losing): Promise<unknown> {
  const signatures = ['ann', 'bob'].map((by) => signed(world, by));
  return apply(world, 'ann', signatures, policy, {}, accepted);
}

test.each([
  [0, 'The policy would leave 2 keys without any live quorum that have one now, and 0 were accepted.'],
  [1, 'The policy would leave 2 keys without any live quorum that have one now, and 1 was accepted.'],
  [3, 'The policy would leave 2 keys without any live quorum that have one now, and 3 were accepted.'],
])('two keys that nobody could bring back are not lost by accepting %d', async (accepted, detail) => {
  const { world } = await newScene();
  await expectRefused(world, 'policy.apply', 'unrecoverable-not-accepted', () =>
    applyLosing(world, accepted).catch((error: unknown) => {
      expect(error).toMatchObject({ detail });
      throw error;
    }),
  );
  expect(world.journal.policyVersion).toBe(POLICY.version);
});

test('they are lost when exactly their number is accepted, which the log has', async () => {
  const { world } = await newScene();
  const [attempted] = await expectDone(world, 'policy.apply', () => applyLosing(world, 2));
  expect(attempted.detail).toMatchObject({ unrecoverable: 2 });
});

test.each([
  ['nobody is removed', next],
  ['a quorum is left', { ...policyWith({ removed: ['dora'] }), hash: HASH }],
])('where %s, none is to be accepted, and none can be', async (_what, policy) => {
  const { world } = await newScene();
  await expectRefused(world, 'policy.apply', 'unrecoverable-not-accepted', () =>
    applyLosing(world, 1, policy),
  );
  await expectDone(world, 'policy.apply', () => applyLosing(world, 0, policy));
});

const BORN = {
  subject: { key: 'key_late', owner: 'olga' },
  detail: { quorums: [['dave', 'dora']] },
  outcome: { shares: [{ purpose: 'operate', recipients: [] }] },
};

test('a key that is born while a policy is decided is counted before it comes into force', async () => {
  const { world } = await newScene();
  const { journal } = world;
  // between what was decided and the attempt, which does not stand in the log yet
  journal.before = ({ role }) => {
    journal.before = () => undefined;
    if (role === 'opens')
      entriesOf('key.generate', BORN).forEach((entry) => {
        journal.follow(entry);
      });
  };
  const from = world.entries.length;
  await expect(applyLosing(world, 2)).rejects.toMatchObject({
    code: 'unrecoverable-not-accepted',
    detail: expect.stringContaining('leave 3 keys') as unknown,
  });
  expect(world.entries.slice(from)).toMatchObject([
    { act: 'policy.apply', phase: 'attempted' },
    { act: 'policy.apply', phase: 'denied', error: 'unrecoverable-not-accepted' },
  ]);
  expect(journal.policyVersion).toBe(POLICY.version);
  await expectDone(world, 'policy.apply', () => applyLosing(world, 3));
});

test('a key that is being made is counted, since it may be born when the policy is in force', async () => {
  const { world } = await newScene();
  const [attempt = new Uint8Array()] = entriesOf('key.generate', BORN);
  world.journal.follow(attempt);
  await expect(applyLosing(world, 2)).rejects.toMatchObject({ code: 'unrecoverable-not-accepted' });
  await expectDone(world, 'policy.apply', () => applyLosing(world, 3));
});

test('no key is made while a policy is being put in force that has not counted it; afterwards it is', async () => {
  const { world } = await newScene();
  const [attempt = new Uint8Array(), done = new Uint8Array()] = entriesOf('policy.apply', {
    outcome: { version: POLICY.version, policyHash: POLICY.hash },
  });
  world.journal.follow(attempt);
  const order = { owner: 'olga', spec: 'rsa-2048', use: 'sign', label: '', deliver: false } as never;
  const made = world.deposits.size;
  await expect(generateKey(world.escrow, callOf('ann'), order)).rejects.toMatchObject({ code: 'busy' });
  expect([world.deposits.size, world.facts.depositsBeingMade()]).toEqual([made, []]);
  world.journal.follow(done);
  await generateKey(world.escrow, callOf('ann'), order);
  expect(world.deposits.size).toBe(made + 1);
});

test('while the token is out a plan counts keys as people are listed, says so, and nothing is put in force', async () => {
  const { world } = await newScene();
  const { token } = world.escrow;
  const all = await token.enrolled();
  const isOut = (): Promise<never> => Promise.reject(new EscrowError('token-unavailable'));
  token.enrolled = isOut;
  const planned = await planPolicy(world.escrow, () => losing, {});
  expect([planned.inToken.enrolled, planned.losses.lost]).toEqual([undefined, 2]);
  // dora is listed, and not enrolled: without dave two keys are lost, which only the token can say
  const policy = { ...policyWith({ removed: ['dave'] }), hash: HASH };
  expect((await planPolicy(world.escrow, () => policy, {})).losses.lost).toBe(0);
  for (const [accepted, one] of [
    [0, policy],
    [2, losing],
    [0, next],
  ] as const)
    await expectRefused(world, 'policy.apply', 'token-unavailable', () => applyLosing(world, accepted, one));
  expect(world.journal.policyVersion).toBe(POLICY.version);
  token.enrolled = () => Promise.resolve(all.filter(({ id }) => id !== 'dora'));
  await expectRefused(world, 'policy.apply', 'unrecoverable-not-accepted', () =>
    applyLosing(world, 0, policy),
  );
});

test('whom the token has not enrolled is left to nobody: the last quorum that could agree is counted', async () => {
  const { world } = await newScene();
  const { token } = world.escrow;
  const all = await token.enrolled();
  token.enrolled = () => Promise.resolve(all.filter(({ id }) => id !== 'dora'));
  // dana and dave are the only ones who can agree; dora is listed still
  const policy = { ...policyWith({ removed: ['dave'] }), hash: HASH };
  await expectDone(world, 'policy.apply', async () => {
    await expect(planPolicy(world.escrow, () => policy, {})).resolves.toMatchObject({ losses: { lost: 2 } });
    await applyLosing(world, 2, policy);
  });
});
