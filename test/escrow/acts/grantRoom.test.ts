import { activateRecovery } from '../../../src/escrow/acts/activateRecovery.js';
import { keepHouse } from '../../../src/escrow/acts/housekeeping.js';
import { revokeGrant } from '../../../src/escrow/acts/revokeGrant.js';
import { GrantRoom } from '../../../src/escrow/rules/grantRoom.js';
import { approve, ask, callOf, HOUR_MS, worldOf } from '../symbolicPeople.js';
import type { SymbolicWorld } from '../symbolicWorld.js';

/* A token that may hold few grants: who asks for one more is told so, before anybody's reply is opened. */

const LASTING = { validForMs: 12 * HOUR_MS, durationMs: HOUR_MS };

/** The same world, whose token may hold so many grants. */
function holding(world: SymbolicWorld, most: number): void {
  Object.assign(world.escrow, { grantRoom: new GrantRoom(most) });
}

/** The verbs that the token was asked for from now on. */
function verbsOf({ device }: SymbolicWorld): readonly string[] {
  const verbs: string[] = [];
  device.before = (verb) => {
    verbs.push(verb);
    return Promise.resolve();
  };
  return verbs;
}

test('a request for more than there is room for is refused, and makes nothing', async () => {
  const { world, keys } = await worldOf({}, {});
  holding(world, 1);
  const verbs = verbsOf(world);
  await expect(ask({ world, keys }, LASTING)).rejects.toMatchObject({ code: 'token-full' });
  expect(verbs).toEqual([]);
  // the control: one of them
  const recovery = await ask({ world, keys: keys.slice(0, 1) }, LASTING);
  expect([...world.device.transports]).toEqual([recovery.id]);
});

test('an approval that would activate at once is refused while there is no room, its replies unopened, and is taken when a grant has ended', async () => {
  const { world, keys } = await worldOf({}, {});
  const [one, other] = [keys.slice(0, 1), keys.slice(1)];
  const first = await ask({ world, keys: one }, LASTING);
  const second = await ask({ world, keys: other }, LASTING);
  await approve(world, 'dana', second);
  holding(world, 1);
  for (const by of ['dana', 'dave']) await approve(world, by, first);
  const verbs = verbsOf(world);
  await expect(approve(world, 'dave', second)).rejects.toMatchObject({ code: 'token-full' });
  expect(verbs).toEqual([]);
  const [grant] = world.grants.values();
  if (grant === undefined) throw new Error('there is a grant');
  await revokeGrant(world.escrow, callOf('olga'), { grant: grant.id, reason: 'back' });
  expect((await approve(world, 'dave', second)).state.status).toBe('active');
});

test('what was approved for later is not carried out while there is no room, stays approved, and is when a grant has ended', async () => {
  const { world, keys } = await worldOf({ operate: { delayMs: HOUR_MS / 2 } }, {});
  const [slow, quick] = [keys.slice(0, 1), keys.slice(1)];
  const later = await ask({ world, keys: slow }, LASTING);
  for (const by of ['dana', 'dave']) await approve(world, by, later, 12 * HOUR_MS);
  holding(world, 1);
  const now = await ask({ world, keys: quick }, LASTING);
  for (const by of ['dana', 'dave']) await approve(world, by, now);
  world.now = new Date(world.now.getTime() + HOUR_MS / 2);
  const verbs = verbsOf(world);
  expect((await keepHouse(world.escrow, world.journal)).activated).toBe(0);
  const activating = activateRecovery(world.escrow, callOf('ann'), { recovery: later.id });
  await expect(activating).rejects.toMatchObject({ code: 'token-full' });
  expect(verbs).toEqual([]);
  expect(world.recoveries.get(later.id)?.state.status).toBe('approved');
  const [grant] = world.grants.values();
  if (grant === undefined) throw new Error('there is a grant');
  await revokeGrant(world.escrow, callOf('olga'), { grant: grant.id, reason: 'back' });
  expect((await keepHouse(world.escrow, world.journal)).activated).toBe(1);
});

test('grants that are being made take room', () => {
  const room = new GrantRoom(3);
  const facts = {
    runningGrantIds: () => ['grant_1'],
    openAttempts: () => [
      { id: 'act', act: 'recovery.activate', actor: 'escrowd', subject: {}, grants: ['grant_2'] },
    ],
  };
  room.require(facts, 1);
  expect(() => {
    room.require(facts, 2);
  }).toThrow('holds 2 grants and may hold 3');
  new GrantRoom(undefined).require(facts, 1_000_000);
});
