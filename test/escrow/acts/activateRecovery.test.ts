import { activateRecovery } from '../../../src/escrow/acts/activateRecovery.js';
import { cancelRecovery } from '../../../src/escrow/acts/endRecovery.js';
import type { RecoveryId } from '../../../src/escrow/records/ids.js';
import { approve, ask, callOf, HOUR_MS, worldOf } from '../symbolicPeople.js';
import type { SymbolicWorld } from '../symbolicWorld.js';

test.each<[what: string, status: string, act: (world: SymbolicWorld, id: RecoveryId) => Promise<unknown>]>([
  [
    'is taken back',
    'cancelled',
    ({ escrow }, recovery) => cancelRecovery(escrow, callOf('ann'), { recovery, reason: 'not needed' }),
  ],
  ['is activated', 'active', ({ escrow }, recovery) => activateRecovery(escrow, callOf('ann'), { recovery })],
])(
  'a request that %s just before its last approval would activate it is read once more, and not waited for',
  async (_what, status, act) => {
    const made = await worldOf({});
    const { world } = made;
    world.contentionTimeoutMs = 5_000;
    const began = world.now.getTime();
    const recovery = await ask(made, { validForMs: HOUR_MS });
    await approve(world, 'dana', recovery);
    const { identity, store } = world.escrow;
    const verify = identity.verify.bind(identity);
    let checks = 0;
    jest.spyOn(identity, 'verify').mockImplementation(async (jws, typ) => {
      checks += 1;
      // the approval has checked what was attested, and the activation is about to
      if (checks === 2) await act(world, recovery.id);
      return verify(jws, typ);
    });
    const reads = jest.spyOn(store, 'findRecovery');
    await approve(world, 'dave', recovery);
    expect(world.recoveries.get(recovery.id)?.state.status).toBe(status);
    expect(checks).toBeLessThan(6);
    expect(reads.mock.calls.length).toBeLessThan(6);
    expect(world.now.getTime() - began).toBeLessThan(1_000);
  },
);
