import { vetoRecovery } from '../../../src/escrow/acts/endRecovery.ts';
import { keepHouse } from '../../../src/escrow/acts/housekeeping.js';
import type { StraysSeen } from '../../../src/escrow/acts/strays.js';
import { STRAY_FOR_MS } from '../../../src/escrow/acts/strays.js';
import type { LogFacts } from '../../../src/escrow/logged/logFacts.js';
import type { LogState } from '../../../src/escrow/logged/logState.js';
import type { Policy } from '../../../src/escrow/records/policy.js';
import type { Entry } from '../../../src/log/entry/entry.js';
import { encodeEntry } from '../../../src/log/entry/entry.js';
import { approve, ask, callOf, HOUR_MS, worldOf } from '../symbolicPeople.js';
import { strayLongAgo, symbolicWorld } from '../symbolicWorld.js';

const id = (prefix: string, digit: string): string => `${prefix}_${digit.repeat(32)}`;

test('grants of several keys that an activation under way is making are no strays; what nobody is making is', async () => {
  const world = symbolicWorld({ version: 1, hash: '00'.repeat(32) } as unknown as Policy, []);
  const making = [id('grant', '1'), id('grant', '2')];
  const stray = id('grant', '3');
  for (const grant of [...making, stray]) (world.raised as Set<string>).add(grant);
  const keys = [id('key', '1'), id('key', '2')];
  const subject = { keys, owner: 'olga', recovery: id('rec', '1') };
  const attempt: Entry = {
    ...{ v: 1, time: '2026-03-01T12:00:00.000Z', act: 'recovery.activate', id: id('act', '1') },
    ...{ phase: 'attempted', actor: 'escrowd', subject },
    detail: { grants: Object.fromEntries(keys.map((key, at) => [key, making[at] ?? ''])) },
  };
  const log = world.facts as LogFacts & Pick<LogState, 'take'>;
  log.take(0, encodeEntry(attempt));
  expect(await keepHouse(world.escrow, world.journal, strayLongAgo(world))).toMatchObject({ strays: 1 });
  expect([...world.raised].sort()).toEqual(making);
  // when it is over and has recorded none of them, they are
  log.take(1, encodeEntry({ ...attempt, phase: 'failed', error: 'interrupted', detail: {} }));
  expect(await keepHouse(world.escrow, world.journal, strayLongAgo(world))).toMatchObject({ strays: 2 });
  expect([...world.raised]).toEqual([]);
});

test('what was not a stray long enough stands: a daemon that starts beside this one tries its token with objects of no act', async () => {
  const world = symbolicWorld({ version: 1, hash: '00'.repeat(32) } as unknown as Policy, []);
  const { grants } = world.device;
  const seen: StraysSeen = new Map();
  const round = (): ReturnType<typeof keepHouse> => keepHouse(world.escrow, world.journal, seen);
  const afterMs = (ms: number): void => {
    world.now = new Date(world.now.getTime() + ms);
  };
  grants.add(id('grant', '1'));
  expect(await round()).toMatchObject({ strays: 0 });
  afterMs(STRAY_FOR_MS - 1);
  expect(await round()).toMatchObject({ strays: 0 });
  expect([...grants]).toEqual([id('grant', '1')]);
  // gone and there again, as each trial of a self-test: the time counts anew, and the other object's as well
  grants.clear();
  grants.add(id('grant', '2'));
  afterMs(1);
  expect(await round()).toMatchObject({ strays: 0 });
  grants.add(id('grant', '1'));
  afterMs(STRAY_FOR_MS);
  expect(await round()).toMatchObject({ strays: 1 });
  expect([...grants]).toEqual([id('grant', '1')]);
  // a clock that is set back makes nothing older than it was
  afterMs(-10 * STRAY_FOR_MS);
  expect(await round()).toMatchObject({ strays: 0 });
  afterMs(STRAY_FOR_MS - 1);
  expect(await round()).toMatchObject({ strays: 0 });
  afterMs(1);
  expect(await round()).toMatchObject({ strays: 1 });
  expect([...grants]).toEqual([]);
});

test('in a token that is in use on another copy of the records nothing is destroyed, neither as a stray nor as obsolete', async () => {
  const { world, keys } = await worldOf({ operate: { ownerMayVeto: true } });
  const { device } = world;
  const recovery = await ask({ world, keys });
  device.grants.add(id('grant', '3'));
  device.isForeign = true;
  await vetoRecovery(world.escrow, callOf('olga'), { recovery: recovery.id, reason: 'no' });
  await expect(keepHouse(world.escrow, world.journal, strayLongAgo(world))).rejects.toThrow('another copy');
  expect([...device.grants]).toEqual([id('grant', '3')]);
  expect([...device.transports]).toEqual([recovery.id]);
  expect(world.entries.some(({ act }) => act === 'token.tidy')).toBe(false);
  device.isForeign = false;
  expect(await keepHouse(world.escrow, world.journal, strayLongAgo(world))).toMatchObject({ strays: 2 });
});

test('what the records have and the token has not is missing, until the records have it no more', async () => {
  const { world, keys } = await worldOf({});
  const active = await ask({ world, keys });
  for (const by of ['dana', 'dave']) await approve(world, by, active);
  const open = await ask({ world, keys });
  expect((await keepHouse(world.escrow, world.journal)).missing).toEqual([]);
  const [grant = ''] = world.grants.keys();
  world.device.grants.clear();
  world.device.transports.clear();
  const { missing } = await keepHouse(world.escrow, world.journal);
  expect(missing).toEqual([`transport:${open.id}`, `grant:${grant}`]);
  world.now = new Date(world.now.getTime() + HOUR_MS);
  expect((await keepHouse(world.escrow, world.journal)).missing).toEqual([]);
});
