import { decryptWithGrant, signWithGrant } from '../../../src/escrow/acts/useGrant.js';
import { revokeGrant } from '../../../src/escrow/acts/revokeGrant.ts';
import type { GrantId } from '../../../src/escrow/records/ids.js';
import type { Recovery } from '../../../src/escrow/records/recovery.js';
import { approve, ask, callOf, worldOf } from '../symbolicPeople.js';
import type { SymbolicWorld } from '../symbolicWorld.js';

/** A world with a request that waits for its second approval, of three. */
async function pending(
  use: 'sign' | 'decrypt' = 'sign',
): Promise<{ world: SymbolicWorld; recovery: Recovery }> {
  const made = await worldOf({ use, people: ['dana', 'dave', 'dora'], atLeast: 2 });
  const recovery = await ask(made, { use, maxUses: 9 });
  await approve(made.world, 'dana', recovery);
  return { world: made.world, recovery };
}

async function granted(use: 'sign' | 'decrypt'): Promise<{ world: SymbolicWorld; grant: GrantId }> {
  const { world, recovery } = await pending(use);
  await approve(world, 'dave', recovery);
  const [grant] = world.grants.keys();
  return { world, grant: grant as GrantId };
}

/** Does this before the token does a verb for the so-manieth time. */
function before(world: SymbolicWorld, verb: string, time: number, act: () => unknown): void {
  let times = 0;
  world.device.before = async (name) => {
    if (name === verb && (times += 1) === time) await act();
  };
}

const four = Array.from({ length: 4 }, (_, at) => Buffer.alloc(256, at));
const USES = {
  sign: (world: SymbolicWorld, grant: GrantId) =>
    signWithGrant(world.escrow, callOf('mailer'), {
      grant,
      mechanism: 'RS256',
      inputs: { kind: 'message', items: four },
    }),
  decrypt: (world: SymbolicWorld, grant: GrantId) =>
    decryptWithGrant(world.escrow, callOf('mailer'), {
      grant,
      mechanism: 'RSA-OAEP',
      inputs: four.map((ciphertext) => ({ ciphertext })),
    }),
} as const;

/** What can end a use in the middle, and what it is then answered. */
const ENDS = {
  'is revoked': [
    'grant-revoked',
    (world: SymbolicWorld, grant: GrantId) =>
      revokeGrant(world.escrow, callOf('olga'), { grant, reason: 'stop' }),
  ],
  'is not in the token any more, which no record says': [
    'token-object-missing',
    (world: SymbolicWorld, grant: GrantId) => world.device.grants.delete(grant),
  ],
  'is in a token that goes': ['token-unavailable', (world: SymbolicWorld) => (world.device.isOut = true)],
} as const;

describe.each(['sign', 'decrypt'] as const)('a batch to %s', (use) => {
  describe.each(Object.entries(ENDS))('whose grant %s', (_name, [code, end]) => {
    test.each([1, 2, 4])('at input %i has failed, and the log says how many were made', async (time) => {
      const { world, grant } = await granted(use);
      before(world, use, time, () => end(world, grant));
      await expect(USES[use](world, grant)).rejects.toMatchObject({ code });
      expect(world.entries.filter(({ act }) => act === `grant.${use}`)).toMatchObject([
        { phase: 'attempted' },
        { phase: 'failed', error: code, detail: { made: time - 1 } },
      ]);
      expect(world.grants.get(grant)).toMatchObject({ used: 4 });
    });
  });
});

test('a ciphertext that does not open is a refusal when it is the first, and after others it is a failure', async () => {
  const { world, grant } = await granted('decrypt');
  const bad = Buffer.alloc(3);
  for (const ciphertexts of [[bad], [...four.slice(1), bad]]) {
    const inputs = ciphertexts.map((ciphertext) => ({ ciphertext }));
    const order = { grant, mechanism: 'RSA-OAEP', inputs } as const;
    const decrypting = decryptWithGrant(world.escrow, callOf('mailer'), order);
    await expect(decrypting).rejects.toMatchObject({ code: 'ciphertext-invalid' });
  }
  const outcomes = world.entries.filter(({ act, phase }) => act === 'grant.decrypt' && phase !== 'attempted');
  expect(outcomes).toMatchObject([
    { phase: 'denied', detail: {} },
    { phase: 'failed', detail: { made: 3 } },
  ]);
});

test('an approval whose one-time key is not in the token has failed, and can be given again when it is', async () => {
  const { world, recovery } = await pending();
  const { transports } = world.device;
  transports.delete(recovery.id);
  await expect(approve(world, 'dave', recovery)).rejects.toMatchObject({ code: 'token-object-missing' });
  expect(world.entries.at(-1)).toMatchObject({ phase: 'failed', error: 'token-object-missing' });
  transports.add(recovery.id);
  expect((await approve(world, 'dave', recovery)).state.status).toBe('active');
});

test.each([
  [
    'the one-time key',
    'unwrapReply',
    'transport',
    ({ device }: SymbolicWorld) => {
      device.transports.clear();
    },
  ],
  [
    'the key for a depositary',
    'unwrapLayer',
    'link',
    ({ device }: SymbolicWorld) => {
      device.serversFor.clear();
    },
  ],
] as const)(
  'an activation from under which %s is destroyed has failed, and ends the request: no other try would do it',
  async (_what, verb, part, destroy) => {
    const { world, recovery } = await pending();
    // the second approval opens its reply first, and then all of them are opened
    before(world, verb, verb === 'unwrapReply' ? 3 : 1, () => {
      destroy(world);
    });
    await approve(world, 'dave', recovery);
    expect(world.recoveries.get(recovery.id)?.state.status).toBe('failed');
    expect(world.entries.at(-1)).toMatchObject({
      act: 'recovery.activate',
      phase: 'failed',
      error: 'recovery-failed',
      detail: { part },
    });
    expect(world.device.grants.size).toBe(0);
  },
);
