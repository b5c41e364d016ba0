import { cancelRecovery, vetoRecovery } from '../../../src/escrow/acts/endRecovery.ts';
import type { Housekeeping } from '../../../src/escrow/acts/housekeeping.js';
import { keepHouse } from '../../../src/escrow/acts/housekeeping.js';
import { signWithGrant } from '../../../src/escrow/acts/useGrant.js';
import { EscrowError } from '../../../src/escrow/records/errors.js';
import type { Recovery } from '../../../src/escrow/records/recovery.js';
import { HouseMemory } from '../../../src/escrow/acts/houseMemory.js';
import { STRAY_FOR_MS } from '../../../src/escrow/acts/strays.js';
import type { LogFacts } from '../../../src/escrow/logged/logFacts.js';
import type { LogState } from '../../../src/escrow/logged/logState.js';
import type { Policy } from '../../../src/escrow/records/policy.js';
import type { Entry } from '../../../src/log/entry/entry.js';
import { encodeEntry } from '../../../src/log/entry/entry.js';
import { approve, ask, callOf, HOUR_MS, worldOf } from '../symbolicPeople.js';
import type { SymbolicWorld } from '../symbolicWorld.js';
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
  const memory = new HouseMemory();
  const round = (): ReturnType<typeof keepHouse> => keepHouse(world.escrow, world.journal, memory);
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

describe('with what the rounds before have seen, the token is looked through', () => {
  const EVERY_MS = 600_000;
  const LASTING = { validForMs: 12 * HOUR_MS, durationMs: HOUR_MS, maxUses: 9 };

  /** A world with a grant and an open request, and rounds in it that count how often the token was listed. */
  async function rounds(): Promise<{
    readonly world: SymbolicWorld;
    readonly recovery: Recovery;
    readonly round: () => Promise<{ readonly listed: number; readonly done: Housekeeping }>;
  }> {
    const { world, keys } = await worldOf({});
    const active = await ask({ world, keys }, LASTING);
    for (const by of ['dana', 'dave']) await approve(world, by, active);
    const recovery = await ask({ world, keys }, LASTING);
    const { token } = world.escrow;
    const standing = token.standing.bind(token);
    let listed = 0;
    token.standing = async () => {
      listed += 1;
      return standing();
    };
    const memory = new HouseMemory(EVERY_MS);
    const round = async (): Promise<{ readonly listed: number; readonly done: Housekeeping }> => {
      const before = listed;
      const done = await keepHouse(world.escrow, world.journal, memory);
      return { listed: listed - before, done };
    };
    return { world, recovery, round };
  }
  const pass = (world: SymbolicWorld, ms: number): void => {
    world.now = new Date(world.now.getTime() + ms);
  };

  test('at the start and at its pace, and not in between, whatever there is', async () => {
    const { world, round } = await rounds();
    expect((await round()).listed).toBe(1);
    pass(world, EVERY_MS - 1);
    expect((await round()).listed).toBe(0);
    pass(world, 1);
    expect((await round()).listed).toBe(1);
    // a clock that was set back
    pass(world, -2 * EVERY_MS);
    expect((await round()).listed).toBe(1);
    expect((await round()).listed).toBe(0);
  });

  test('when something may be a stray, until it is destroyed', async () => {
    const { world, round } = await rounds();
    world.device.grants.add(id('grant', '9'));
    expect(await round()).toMatchObject({ listed: 1, done: { strays: 0 } });
    pass(world, STRAY_FOR_MS - 1);
    expect(await round()).toMatchObject({ listed: 1, done: { strays: 0 } });
    pass(world, 1);
    expect(await round()).toMatchObject({ listed: 1, done: { strays: 1 } });
    expect((await round()).listed).toBe(1);
    expect((await round()).listed).toBe(0);
  });

  test('when the token was out as something was to be destroyed', async () => {
    const { world, recovery, round } = await rounds();
    await round();
    world.device.isOut = true;
    await cancelRecovery(world.escrow, callOf('ann'), { recovery: recovery.id, reason: 'not needed' });
    world.device.isOut = false;
    expect(await round()).toMatchObject({ listed: 1, done: { strays: 0 } });
    pass(world, STRAY_FOR_MS);
    expect(await round()).toMatchObject({ listed: 1, done: { strays: 1 } });
    expect([...world.device.transports]).toEqual([]);
  });

  test('when an act that makes an object has failed, and when a use did not find its own', async () => {
    const { world, round } = await rounds();
    await round();
    const [grant] = world.grants.values();
    if (grant === undefined) throw new Error('there is a grant');
    world.device.grants.clear();
    const order = {
      grant: grant.id,
      mechanism: grant.scope.mechanisms[0] as 'ES256',
      inputs: { kind: 'message' as const, items: [Buffer.from('letter')] },
    };
    await expect(signWithGrant(world.escrow, callOf('mailer'), order)).rejects.toThrow();
    const missing = [`grant:${grant.id}`];
    expect(await round()).toMatchObject({ listed: 1, done: { missing } });
    // it is told in each round, and looked for again after a minute
    expect(await round()).toMatchObject({ listed: 0, done: { missing } });
    pass(world, 60_000);
    expect(await round()).toMatchObject({ listed: 1, done: { missing } });
    world.device.before = (verb) =>
      verb === 'createTransport' ? Promise.reject(new EscrowError('token-unavailable')) : Promise.resolve();
    await expect(ask({ world, keys: [grant.key] })).rejects.toThrow();
    expect((await round()).listed).toBe(1);
    world.device.grants.add(grant.id);
    pass(world, 60_000);
    expect(await round()).toMatchObject({ listed: 1, done: { missing: [] } });
  });

  test('when an act was closed whose outcome could not be written, until what it made is destroyed', async () => {
    const { world, recovery, round } = await rounds();
    await round();
    world.journal.broken = 'closes';
    await expect(ask({ world, keys: recovery.keys })).rejects.toThrow();
    world.journal.broken = undefined;
    expect(await round()).toMatchObject({ listed: 1, done: { interruptedActs: 1, strays: 0 } });
    pass(world, STRAY_FOR_MS);
    expect(await round()).toMatchObject({ listed: 1, done: { strays: 1 } });
    expect([...world.device.transports]).toEqual([recovery.id]);
  });

  test('when the token was opened anew', async () => {
    const { world, round } = await rounds();
    await round();
    Object.assign(world.escrow.token, { openings: world.escrow.token.openings + 1 });
    expect((await round()).listed).toBe(1);
    expect((await round()).listed).toBe(0);
  });
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
