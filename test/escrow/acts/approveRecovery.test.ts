import { cancelRecovery } from '../../../src/escrow/acts/endRecovery.js';
import { approve, ask, callOf, HOUR_MS, MINUTE_MS, worldOf } from '../symbolicPeople.js';

/** Dora, and one of the two others. */
const depositaries = {
  atLeast: 2,
  of: [{ person: 'dora' }, { atLeast: 1, of: [{ person: 'dana' }, { person: 'dave' }] }],
};

describe('an approval that completes two quorums at once', () => {
  test.each([
    ['dana', 'dave'],
    ['dave', 'dana'],
  ] as const)(
    'has the key brought back by the one that it logs: that of %s, who holds longer than %s',
    async (long, short) => {
      const made = await worldOf({ depositaries });
      const { world, keys } = made;
      const recovery = await ask(made);
      await approve(world, short, recovery, MINUTE_MS);
      await approve(world, long, recovery, HOUR_MS);
      const { state } = await approve(world, 'dora', recovery, HOUR_MS);
      expect(state.status).toBe('active');
      const named = world.entries.flatMap(({ act, detail }) =>
        act.startsWith('recovery.') && 'quorums' in detail ? [[act, detail['quorums']] as const] : [],
      );
      const quorums = { [keys[0] ?? '']: [long, 'dora'] };
      expect(named).toEqual([
        ['recovery.approve', quorums],
        ['recovery.activate', quorums],
      ]);
    },
  );
});

test('an approval reads its request and the deposits once, and the activation that follows reads them no more', async () => {
  const made = await worldOf({}, {});
  const recovery = await ask(made);
  const { store } = made.world.escrow;
  const reads = (['findRecovery', 'findDeposits', 'findDeposit', 'findGrants'] as const).map((name) =>
    jest.spyOn(store, name),
  );
  const counts = (): readonly number[] => reads.map(({ mock }) => mock.calls.length);
  await approve(made.world, 'dana', recovery);
  expect(counts()).toEqual([1, 1, 0, 0]);
  expect((await approve(made.world, 'dave', recovery)).state.status).toBe('active');
  expect(counts()).toEqual([2, 2, 0, 0]);
});

test('a request that is taken back after the approval and before the activation is read anew: no grant is made', async () => {
  const made = await worldOf({});
  const { world } = made;
  const recovery = await ask(made);
  await approve(world, 'dana', recovery);
  const { identity } = world.escrow;
  const verify = identity.verify.bind(identity);
  let checks = 0;
  jest.spyOn(identity, 'verify').mockImplementation(async (jws, typ) => {
    checks += 1;
    // the approval checks the request first, then the activation
    if (checks === 2)
      await cancelRecovery(world.escrow, callOf('ann'), { recovery: recovery.id, reason: 'no' });
    return verify(jws, typ);
  });
  expect((await approve(world, 'dave', recovery)).state).toMatchObject({ status: 'cancelled', by: 'ann' });
  expect([...world.raised]).toEqual([]);
  expect(world.entries.some(({ act, phase }) => act === 'recovery.activate' && phase === 'done')).toBe(false);
});
