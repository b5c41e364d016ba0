import { applyPolicy } from '../../../src/escrow/acts/applyPolicy.js';
import type { ErrorCode } from '../../../src/escrow/records/errors.js';
import type { Policy } from '../../../src/escrow/records/policy.js';
import { callOf, newScene, POLICY } from '../../adversary/database/scene.js';
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
): Promise<unknown> {
  return applyPolicy(world.escrow, callOf(by), () => policy, { document: document as never, signatures });
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
