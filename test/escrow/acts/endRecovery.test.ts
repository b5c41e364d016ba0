import { cancelRecovery, vetoRecovery } from '../../../src/escrow/acts/endRecovery.js';
import { stopRecovery } from '../../../src/escrow/acts/stopRecovery.js';
import type { ErrorCode } from '../../../src/escrow/records/errors.js';
import type { RecoveryId } from '../../../src/escrow/records/ids.js';
import type { Recovery } from '../../../src/escrow/records/recovery.js';
import { ask, callOf, deny, HOUR_MS, MINUTE_MS, stop, worldOf } from '../symbolicPeople.js';
import type { SymbolicWorld } from '../symbolicWorld.js';
import { expectDone, expectRefused } from './actCases.js';

const reason = 'because';
type End = (world: SymbolicWorld, by: string, recovery: Recovery) => Promise<unknown>;

/** Ways to end a request: who may, and what it is then. */
const ENDS = {
  'recovery.veto': {
    by: 'olga',
    status: 'vetoed',
    end: ({ escrow }, by, { id }) => vetoRecovery(escrow, callOf(by), { recovery: id, reason }),
  },
  'recovery.cancel': {
    by: 'ann',
    status: 'cancelled',
    end: ({ escrow }, by, { id }) => cancelRecovery(escrow, callOf(by), { recovery: id, reason }),
  },
  'recovery.deny': {
    by: 'dana',
    status: 'denied',
    end: deny,
  },
  'recovery.stop': {
    by: 'ann',
    status: 'cancelled',
    end: (world, by, recovery) => stopping(world, by, recovery, ['ann', 'bob']),
  },
} as const satisfies Record<string, { readonly by: string; readonly status: string; readonly end: End }>;

function stopping(
  world: SymbolicWorld,
  by: string,
  recovery: Recovery,
  signers: readonly string[],
  about: Recovery = recovery,
): Promise<unknown> {
  const statements = signers.map((signer) => stop(world, signer, about));
  return stopRecovery(world.escrow, callOf(by), { recovery: recovery.id, statements });
}

async function scene(
  operate: object = { ownerMayVeto: true, delayMs: HOUR_MS },
): Promise<{ world: SymbolicWorld; recovery: Recovery }> {
  const made = await worldOf({ operate });
  return { world: made.world, recovery: await ask(made, { validForMs: 2 * HOUR_MS }) };
}

describe.each(Object.entries(ENDS))('%s', (name, { by, status, end }) => {
  const act = name as keyof typeof ENDS;

  test('ends the request, and its one-time key with it', async () => {
    const { world, recovery } = await scene();
    const [attempted, done] = await expectDone(world, act, () => end(world, by, recovery));
    expect(attempted).toMatchObject({
      actor: by,
      subject: { recovery: recovery.id, owner: 'olga' },
      detail: { requestHash: recovery.requestHash },
    });
    expect(done).toMatchObject({ detail: { status } });
    expect(world.recoveries.get(recovery.id)).toMatchObject({ revision: 2, state: { status, by } });
    expect(world.device.transports.has(recovery.id)).toBe(false);
  });

  test('is refused of a request that has ended', async () => {
    const { world, recovery } = await scene();
    await ENDS['recovery.cancel'].end(world, 'ann', recovery);
    await expectRefused(world, act, 'recovery-ended', () => end(world, by, recovery));
  });

  test('is refused of a request whose time is over', async () => {
    const { world, recovery } = await scene();
    world.now = new Date(world.now.getTime() + 2 * HOUR_MS + MINUTE_MS);
    await expectRefused(world, act, 'recovery-expired', () => end(world, by, recovery));
  });

  test('is refused of a request that there is not', async () => {
    const { world, recovery } = await scene();
    const other = { ...recovery, id: `rec_${'0'.repeat(32)}` as RecoveryId };
    await expectRefused(world, act, 'recovery-unknown', () => end(world, by, other));
  });

  test('is refused of a request whose record is not that of the log', async () => {
    const { world, recovery } = await scene();
    world.recoveries.set(recovery.id, { ...recovery, reason: 'another' });
    await expectRefused(world, act, 'record-mismatch', () => end(world, by, recovery));
  });
});

test.each([
  ...(['ann', 'dana', 'mailer'] as const).map((by) => ['recovery.veto', by] as const),
  ...(['bob', 'olga', 'dana'] as const).map((by) => ['recovery.cancel', by] as const),
  ...(['ann', 'olga', 'dora'] as const).map((by) => ['recovery.deny', by] as const),
])('%s is refused to %s', async (act, by) => {
  const { world, recovery } = await scene();
  await expectRefused(world, act, 'forbidden', () => ENDS[act].end(world, by, recovery));
});

test('a veto is refused where the rule does not let the owner', async () => {
  const { world, recovery } = await scene({ ownerMayVeto: false, delayMs: HOUR_MS });
  await expectRefused(world, 'recovery.veto', 'veto-not-allowed', () =>
    ENDS['recovery.veto'].end(world, 'olga', recovery),
  );
});

test.each<[string, readonly string[], ErrorCode]>([
  ['one administrator alone', ['ann'], 'stop-signatures-missing'],
  ['one administrator twice', ['bob', 'bob'], 'stop-signatures-missing'],
  ['nobody', [], 'stop-signatures-missing'],
  ['somebody who is no administrator beside two who are', ['ann', 'bob', 'dana'], 'stop-signature-invalid'],
])('a stop is refused by the statements of %s', async (_who, signers, code) => {
  const { world, recovery } = await scene();
  await expectRefused(world, 'recovery.stop', code, () => stopping(world, 'ann', recovery, signers));
});

test('a stop is refused by statements about another request', async () => {
  const { world, recovery } = await scene();
  const other = { ...recovery, requestHash: 'ab'.repeat(32) };
  await expectRefused(world, 'recovery.stop', 'approval-mismatch', () =>
    stopping(world, 'ann', recovery, ['ann', 'bob'], other),
  );
});

test('a stop is refused by statements whose time is over', async () => {
  const { world, recovery } = await scene();
  const statements = ['ann', 'bob'].map((signer) => stop(world, signer, recovery));
  world.now = new Date(world.now.getTime() + 2 * MINUTE_MS);
  await expectRefused(world, 'recovery.stop', 'approval-expired', () =>
    stopRecovery(world.escrow, callOf('ann'), { recovery: recovery.id, statements }),
  );
});
