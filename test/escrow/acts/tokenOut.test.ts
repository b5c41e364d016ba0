import type { Act } from '../../../src/escrow/ledger/means.js';
import { MEANS } from '../../../src/escrow/ledger/means.js';
import { cancelRecovery, vetoRecovery } from '../../../src/escrow/acts/endRecovery.ts';
import { keepHouse } from '../../../src/escrow/acts/housekeeping.js';
import type { GrantId } from '../../../src/escrow/records/ids.js';
import { signWithGrant } from '../../../src/escrow/acts/useGrant.js';
import { revokeGrant } from '../../../src/escrow/acts/revokeGrant.ts';
import { activateRecovery } from '../../../src/escrow/acts/activateRecovery.js';
import type { Recovery } from '../../../src/escrow/records/recovery.js';
import { approve, ask, callOf, deny, HOUR_MS, MINUTE_MS, stop, worldOf } from '../symbolicPeople.js';
import { stopRecovery } from '../../../src/escrow/acts/stopRecovery.js';
import type { SymbolicWorld } from '../symbolicWorld.js';
import { strayLongAgo } from '../symbolicWorld.js';

/** A request that both depositaries have approved, whose delay runs, and a grant that is in use. */
async function scene(): Promise<{ world: SymbolicWorld; recovery: Recovery; grant: GrantId }> {
  const made = await worldOf({}, { operate: { delayMs: HOUR_MS, ownerMayVeto: true } });
  const { world, keys } = made;
  world.device.grants.clear();
  const [soon, later] = keys.map((key) => ({ world, keys: [key] }));
  if (soon === undefined || later === undefined) throw new Error('no keys');
  const active = await ask(soon, { maxUses: 2 });
  for (const by of ['dana', 'dave']) await approve(world, by, active);
  const recovery = await ask(later, { validForMs: 2 * HOUR_MS });
  const [grant] = world.grants.keys();
  return { world, recovery, grant: grant as GrantId };
}

type Scene = Awaited<ReturnType<typeof scene>>;
const reason = 'because';

/** Acts that end something: each by whom and how, and what it leaves. */
const ENDS = {
  'recovery.veto': [
    'vetoed',
    ({ world, recovery }: Scene) =>
      vetoRecovery(world.escrow, callOf('olga'), { recovery: recovery.id, reason }),
  ],
  'recovery.cancel': [
    'cancelled',
    ({ world, recovery }: Scene) =>
      cancelRecovery(world.escrow, callOf('ann'), { recovery: recovery.id, reason }),
  ],
  'recovery.stop': [
    'cancelled',
    ({ world, recovery }: Scene) =>
      stopRecovery(world.escrow, callOf('ann'), {
        recovery: recovery.id,
        statements: ['ann', 'bob'].map((by) => stop(world, by, recovery)),
      }),
  ],
  'recovery.deny': ['denied', ({ world, recovery }: Scene) => deny(world, 'dana', recovery)],
  'recovery.expire': ['expired', ({ world }: Scene) => passed(world, 3 * HOUR_MS)],
  'grant.revoke': [
    'revoked',
    ({ world, grant }: Scene) => revokeGrant(world.escrow, callOf('olga'), { grant, reason }),
  ],
  'grant.expire': ['expired', ({ world }: Scene) => passed(world, 2 * MINUTE_MS)],
} as const satisfies Partial<Record<Act, unknown>>;

/** Housekeeping, so much later: it tells that the token is out, after it has done what needs none. */
async function passed(world: SymbolicWorld, ms: number): Promise<void> {
  world.now = new Date(world.now.getTime() + ms);
  await keepHouse(world.escrow, world.journal).catch((error: unknown) => {
    expect(error).toMatchObject({ code: 'token-unavailable' });
  });
}

describe.each(Object.entries(ENDS))('%s', (act, [status, end]) => {
  test('is done while the token is out, and what it leaves there goes when the token is back', async () => {
    const all = await scene();
    const { world, recovery, grant } = all;
    const { device } = world;
    device.isOut = true;
    await end(all);
    expect(world.entries.filter((entry) => entry.act === act)).toMatchObject([
      { phase: 'attempted' },
      { phase: 'done', detail: { status } },
    ]);
    const isGrant = act.startsWith('grant.');
    const now = isGrant ? world.grants.get(grant)?.status : world.recoveries.get(recovery.id)?.state.status;
    expect(now).toBe(status);
    expect(isGrant ? device.grants.has(grant) : device.transports.has(recovery.id)).toBe(true);
    device.isOut = false;
    await keepHouse(world.escrow, world.journal, strayLongAgo(world));
    expect(isGrant ? device.grants.has(grant) : device.transports.has(recovery.id)).toBe(false);
  });

  test('destroys at once what it leaves when the token is there', async () => {
    const all = await scene();
    await end(all);
    const { device } = all.world;
    expect(
      act.startsWith('grant.') ? device.grants.has(all.grant) : device.transports.has(all.recovery.id),
    ).toBe(false);
  });
});

test('a veto in an outage is in time: when the token is back and the delay over, nothing is brought back', async () => {
  const { world, recovery } = await scene();
  for (const by of ['dana', 'dave']) await approve(world, by, recovery);
  world.device.isOut = true;
  await ENDS['recovery.veto'][1]({ world, recovery, grant: '' as GrantId });
  await passed(world, HOUR_MS + MINUTE_MS);
  world.device.isOut = false;
  await keepHouse(world.escrow, world.journal);
  await expect(
    activateRecovery(world.escrow, callOf('dana'), { recovery: recovery.id }),
  ).rejects.toMatchObject({ code: 'recovery-ended' });
  expect(world.recoveries.get(recovery.id)?.state.status).toBe('vetoed');
});

test('what needs the token is refused while it is out, and nothing is claimed for it', async () => {
  const { world, recovery, grant } = await scene();
  world.device.isOut = true;
  const inputs = { kind: 'message', items: [Buffer.from('letter')] } as const;
  const acts = [
    signWithGrant(world.escrow, callOf('mailer'), { grant, mechanism: 'RS256', inputs }),
    approve(world, 'dana', recovery),
    ask({ world, keys: recovery.keys }),
  ];
  for (const act of acts) await expect(act).rejects.toMatchObject({ code: 'token-unavailable' });
  expect(world.grants.get(grant)).toMatchObject({ used: 0 });
});

test('acts that end something, and none else but those of records, are lent nothing of the token', () => {
  const needless = Object.entries(MEANS).flatMap(([act, verbs]) =>
    verbs.length === 0 && !act.endsWith('.read') ? [act] : [],
  );
  expect(needless.sort()).toEqual(
    [
      ...Object.keys(ENDS),
      ...[
        'grant.exhaust',
        'import.expire',
        'recovery.supersede',
        'log.loss',
        'notification.redeliver',
        'depositary.acknowledge',
        'policy.apply',
      ],
      ...['recovery.confirm', 'recovery.forget', 'recovery.intend', 'recovery.remind'],
    ].sort(),
  );
});
