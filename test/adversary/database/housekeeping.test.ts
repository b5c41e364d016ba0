import type { LockedRows } from '../../../src/postgres/journal/lockedRows.js';
import { requestHash } from '../../../src/escrow/records/digests.js';
import type { Grant } from '../../../src/escrow/records/grant.js';
import { keepHouse } from '../../../src/escrow/acts/housekeeping.js';
import { isOpen } from '../../../src/escrow/checks/openInLog.js';
import type { Housekeeping } from '../../../src/escrow/acts/housekeeping.js';
import type { Journal } from '../../../src/escrow/ports/journal.js';
import { releasedDigest } from '../../../src/escrow/checks/checkedRelease.js';
import type { GrantFacts, LogFacts, ReleaseFacts } from '../../../src/escrow/logged/logFacts.js';
import { activateRecovery } from '../../../src/escrow/acts/activateRecovery.js';
import { releaseKeys } from '../../../src/escrow/acts/releaseKeys.ts';
import type { Recovery } from '../../../src/escrow/records/recovery.js';
import type { GrantRow, RecoveryRow } from '../../../src/postgres/rows.js';
import { toDocument, toGrant, toRecovery } from '../../../src/postgres/rows.js';
import type { SymbolicWorld } from '../../escrow/symbolicWorld.js';
import { strayLongAgo } from '../../escrow/symbolicWorld.js';
import { approve, ask, believingStatements, callOf, due, newScene, pass, recordsAsFacts } from './scene.js';

/*
 * Somebody with the database changes one column of a record, as housekeeping reads it, whichever there is, and to whatever; then a
 * round of housekeeping is made. Nothing ends before its time, nothing that is of something open is destroyed, no released key is
 * forgotten, and what else was to be done in this round is done. The control is a daemon to which records are what the log says.
 */
interface Scene {
  readonly world: SymbolicWorld;
  /** Requests: one that dana has approved, one that a quorum has, its delay running, and one that was released just now. */
  readonly pending: Recovery;
  readonly approved: Recovery;
  readonly released: Recovery;
  readonly running: Grant;
  /** What is over, and was before any of these began. */
  readonly over: { readonly request: Recovery; readonly grant: Grant };
}

async function makeScene(): Promise<Scene> {
  const { world, key, other } = await newScene();
  const activated = async (): Promise<Grant> => {
    const { id } = await due(world, key, 'operate');
    const [grant] = (await activateRecovery(world.escrow, callOf('dana'), { recovery: id })).answer;
    if (grant === undefined) throw new Error('not activated');
    return grant;
  };
  const request = await ask(world, key, 'operate');
  const grant = await activated();
  // what follows has an hour, and half an hour, from here on
  pass(world, 40);
  const running = await activated();
  const released = await due(world, other, 'release');
  await releaseKeys(world.escrow, callOf('dana'), { recovery: released.id });
  const pending = await ask(world, other, 'operate');
  await approve(world, 'dana', pending);
  const approved = await ask(world, key, 'operate');
  for (const by of ['dana', 'dave']) await approve(world, by, approved);
  pass(world, 1);
  return { world, pending, approved, released, running, over: { request, grant } };
}

/** A record as its columns, which can be changed to anything. */
type Row = Record<string, unknown>;

const rowOf = (recovery: Recovery | undefined): Row => {
  if (recovery === undefined) throw new Error('there is no record');
  return JSON.parse(toDocument(recovery)) as Row;
};

function grantRowOf(grant: Grant | undefined): Row {
  if (grant === undefined) throw new Error('there is no record');
  const { startsAt, expiresAt, scope, certificate = null, ...same } = grant;
  const times = { starts_at: startsAt, expires_at: expiresAt };
  return { ...same, ...times, scope: JSON.parse(toDocument(scope)) as unknown, certificate };
}

/** What reading a record gives: it may be an error. */
function asRead<T>(read: () => T): () => Promise<T> {
  return () => {
    try {
      return Promise.resolve(read());
    } catch (error) {
      return Promise.reject(error instanceof Error ? error : new Error(String(error)));
    }
  };
}

/** Puts a row in place of a record, in the store and for who judges claims; returns what puts it back. */
function putRow(world: SymbolicWorld, id: string, row: Row | undefined): () => void {
  const { store } = world.escrow;
  const findRecovery = store.findRecovery.bind(store);
  const before = world.recoveries.get(id);
  const read = asRead(() =>
    row === undefined ? undefined : toRecovery({ document: row } as unknown as RecoveryRow),
  );
  store.findRecovery = (one) => ((one as string) === id ? read() : findRecovery(one));
  world.recoveries.delete(id);
  try {
    if (row !== undefined) world.recoveries.set(id, toRecovery({ document: row } as unknown as RecoveryRow));
  } catch {
    // it is no record any more
  }
  return () => {
    store.findRecovery = findRecovery;
    if (before !== undefined) world.recoveries.set(id, before);
  };
}

function putGrantRow(world: SymbolicWorld, id: string, row: Row | undefined): () => void {
  const { store } = world.escrow;
  const findGrant = store.findGrant.bind(store);
  const before = world.grants.get(id);
  const read = asRead(() => (row === undefined ? undefined : toGrant(row as unknown as GrantRow)));
  store.findGrant = (one) => ((one as string) === id ? read() : findGrant(one));
  world.grants.delete(id);
  if (row !== undefined)
    world.grants.set(id, toGrant({ ...row, scope: row['scope'] ?? {} } as unknown as GrantRow));
  return () => {
    store.findGrant = findGrant;
    if (before !== undefined) world.grants.set(id, before);
  };
}

const PAST = '2026-01-01T00:00:00.000Z';
/** What any member is changed to; undefined takes it out. */
const ANYTHING: readonly unknown[] = [undefined, null, 'x', 0, 7, -1, true, [], {}, [null], PAST];

/** A round, and that nothing happened in it but what was to. */
async function expectNothingLost(
  { world, pending, approved, released, running, over }: Scene,
  isFirst = true,
): Promise<Housekeeping> {
  const before = world.entries.length;
  const kept = JSON.stringify(world.recoveries.get(released.id)?.state);
  const done = await keepHouse(world.escrow, world.journal, strayLongAgo(world));
  const acts = world.entries.slice(before);
  const due = [
    ['recovery.expire', over.request.id],
    ['grant.expire', over.grant.id],
  ].flatMap(([act, id]) => ['attempted', 'done'].map((phase) => [act, phase, id]));
  expect(acts.map(({ act, phase, subject }) => [act, phase, subject.grant ?? subject.recovery])).toEqual(
    isFirst ? due : [],
  );
  expect([...world.device.transports].sort()).toEqual([pending.id, approved.id].sort());
  expect([...world.device.grants]).toEqual([running.id]);
  expect(JSON.stringify(world.recoveries.get(released.id)?.state)).toBe(kept);
  const ended = isFirst ? 1 : 0;
  expect(done).toMatchObject({
    expiredRecoveries: ended,
    endedGrants: ended,
    strays: 0,
    forgottenReleases: 0,
  });
  return done;
}

/** One after the other, on one scene: in the first of these rounds there is something else to be done as well. */
async function expectNothingLostBy(
  scene: Scene,
  values: readonly unknown[],
  change: (value: unknown) => () => void,
): Promise<void> {
  for (const [at, value] of values.entries()) {
    const back = change(value);
    await expectNothingLost(scene, at === 0);
    back();
  }
}

/** The same, another one of them first. */
function rotated<T>(values: readonly T[], by: number): readonly T[] {
  const at = by % values.length;
  return [...values.slice(at), ...values.slice(0, at)];
}

test('nothing changed: what is over is ended, and no record is named', async () => {
  const { contradictions } = await expectNothingLost(await makeScene());
  expect(contradictions).toEqual([]);
});

const REQUESTS = ['pending', 'approved', 'released'] as const;

describe.each(REQUESTS)('the record of a request that is %s', (which) => {
  test('every member of it, changed to anything', async () => {
    const { world, [which]: victim } = await makeScene();
    const members = Object.keys(rowOf(world.recoveries.get(victim.id)));
    expect(members.length).toBeGreaterThan(15);
    for (const [at, member] of members.entries()) {
      const scene = await makeScene();
      const { id } = scene[which];
      const row = rowOf(scene.world.recoveries.get(id));
      await expectNothingLostBy(scene, rotated(ANYTHING, at), (value) =>
        putRow(scene.world, id, { ...row, [member]: value }),
      );
    }
  });

  test('is gone, or is that of another request', async () => {
    const others: readonly ((scene: Scene) => Recovery | undefined)[] = [
      () => undefined,
      ({ over }) => over.request,
      ({ pending }) => pending,
      ({ approved }) => approved,
      ({ released }) => released,
    ];
    for (const other of others) {
      const scene = await makeScene();
      const { world, [which]: victim } = scene;
      const found = other(scene);
      const row = found === undefined ? undefined : rowOf(world.recoveries.get(found.id));
      putRow(world, victim.id, row);
      await expectNothingLost(scene);
    }
  });

  test('is of another revision, or held by nobody', async () => {
    for (const spoil of [
      ({ recoveries }: LockedRows, id: string) => void recoveries.set(id, 77),
      ({ heldRecoveries }: LockedRows, id: string) => void heldRecoveries.add(id),
    ]) {
      const scene = await makeScene();
      scene.world.journal.forge = (locked) => {
        spoil(locked, scene[which].id);
      };
      await expectNothingLost(scene);
    }
  });
});

test('the record of a grant that runs: every column of it, changed to anything', async () => {
  const { world, running } = await makeScene();
  const columns = Object.keys(grantRowOf(world.grants.get(running.id)));
  expect(columns.length).toBeGreaterThan(10);
  const values = [...ANYTHING, new Date(PAST), 'revoked', 'expired', 99];
  for (const [at, column] of columns.entries()) {
    const scene = await makeScene();
    const { id } = scene.running;
    const row = grantRowOf(scene.world.grants.get(id));
    await expectNothingLostBy(scene, rotated(values, at), (value) =>
      putGrantRow(scene.world, id, { ...row, [column]: value }),
    );
  }
  const scene = await makeScene();
  putGrantRow(scene.world, scene.running.id, undefined);
  await expectNothingLost(scene);
});

/** Changes of what is over: it cannot be ended, is named, and nothing else waits for it. */
describe('the record of what is over', () => {
  const spoilt: readonly (readonly [string, (scene: Scene) => string])[] = [
    [
      'a request whose record has ended',
      ({ world, over: { request } }) => {
        const row = rowOf(world.recoveries.get(request.id));
        const state = { status: 'cancelled', by: 'dana', reason: '', at: PAST };
        putRow(world, request.id, { ...row, state });
        return request.id;
      },
    ],
    [
      'a request whose record has another end',
      ({ world, over: { request } }) => {
        const row = rowOf(world.recoveries.get(request.id));
        putRow(world, request.id, { ...row, expiresAt: '2099-01-01T00:00:00.000Z' });
        return request.id;
      },
    ],
    [
      'a request without a record',
      ({ world, over: { request } }) => {
        putRow(world, request.id, undefined);
        return request.id;
      },
    ],
    [
      'a request that is of another revision',
      ({ world, over: { request } }) => {
        world.journal.forge = ({ recoveries }) => void recoveries.set(request.id, 77);
        return request.id;
      },
    ],
    [
      'a request of a key whose deposit is another',
      ({ world, over: { request } }) => {
        const [key = ''] = request.keys;
        const deposit = world.deposits.get(key);
        if (deposit === undefined) throw new Error('there is no deposit');
        world.deposits.set(key, { ...deposit, label: 'another' });
        return request.id;
      },
    ],
    [
      'a grant whose record has ended',
      ({ world, over: { grant } }) => {
        putGrantRow(world, grant.id, { ...grantRowOf(world.grants.get(grant.id)), status: 'revoked' });
        return grant.id;
      },
    ],
    [
      'a grant without a record',
      ({ world, over: { grant } }) => {
        putGrantRow(world, grant.id, undefined);
        return grant.id;
      },
    ],
    [
      'a grant whose record is of another key',
      ({ world, over: { grant } }) => {
        putGrantRow(world, grant.id, { ...grantRowOf(world.grants.get(grant.id)), key: 'key_x' });
        return grant.id;
      },
    ],
  ];

  test.each(spoilt)('%s: it is named, round by round, and the other is ended', async (_what, spoil) => {
    const scene = await makeScene();
    const { world, over } = scene;
    const id = spoil(scene);
    const before = world.entries.length;
    const first = await keepHouse(world.escrow, world.journal);
    expect(first.contradictions.map((each) => each.id)).toContain(id);
    const other = id === over.grant.id ? 'recovery.expire' : 'grant.expire';
    const acts = world.entries.slice(before).map(({ act, phase }) => `${act} ${phase}`);
    expect(acts).toEqual([`${other} attempted`, `${other} done`]);
    const recorded = world.entries.length;
    const again = await keepHouse(world.escrow, world.journal);
    expect(again.contradictions.map((each) => each.id)).toContain(id);
    // nothing is tried, and recorded, over and over
    expect(world.entries).toHaveLength(recorded);
  });
});

test('what was released, and has no record of that any more, is named round by round, and nothing is recorded', async () => {
  for (const change of ['taken back', 'changed', 'gone']) {
    const { world, key } = await newScene();
    const recovery = await due(world, key, 'release');
    const before = world.recoveries.get(recovery.id);
    await releaseKeys(world.escrow, callOf('dana'), { recovery: recovery.id });
    const released = world.recoveries.get(recovery.id);
    if (before === undefined || released?.state.status !== 'released') throw new Error('not released');
    const state = { ...released.state, answers: [] };
    if (change === 'taken back') world.recoveries.set(recovery.id, before);
    if (change === 'changed') world.recoveries.set(recovery.id, { ...released, state });
    if (change === 'gone') world.recoveries.delete(recovery.id);
    pass(world, 25 * 60);
    const size = world.entries.length;
    for (let round = 0; round < 3; round += 1) {
      const { contradictions, forgottenReleases } = await keepHouse(world.escrow, world.journal);
      expect(contradictions.map(({ id }) => id)).toEqual([recovery.id]);
      expect(forgottenReleases).toBe(0);
    }
    expect(world.entries).toHaveLength(size);
    // the control: the record as it was is forgotten
    world.recoveries.set(recovery.id, released);
    expect((await keepHouse(world.escrow, world.journal)).forgottenReleases).toBe(1);
  }
});

test('an act that a daemon is in the middle of is not closed by it, whoever is said to have begun it', async () => {
  const scene = await makeScene();
  const { world } = scene;
  const journal = world.journal as Journal;
  const openActs = journal.openActs.bind(journal);
  let outcome: Promise<unknown> = Promise.resolve();
  // another round, in the middle of an approval, finds it left by a daemon that is gone
  const gone: Pick<Journal, 'openActs'> = {
    openActs: async () => (await openActs()).map((act) => ({ ...act, by: 'gone' })),
  };
  let rounds = 0;
  world.device.before = async (verb) => {
    if (verb !== 'unwrapReply' || rounds > 0) return;
    rounds += 1;
    outcome = keepHouse(world.escrow, gone);
    await outcome;
  };
  expect((await approve(world, 'dave', scene.pending)).state.status).toBe('approved');
  expect(rounds).toBe(1);
  expect(world.entries.filter(({ error }) => error === 'interrupted')).toEqual([]);
});

test('an act that has ended since the open ones were read is not said to be open by the records alone', async () => {
  const { world, pending } = await makeScene();
  const journal = world.journal as Journal;
  const { ledger } = world.escrow;
  const closeInterrupted = ledger.closeInterrupted.bind(ledger);
  const asked: string[] = [];
  ledger.closeInterrupted = (id) => {
    asked.push(id);
    return closeInterrupted(id);
  };
  let during: Awaited<ReturnType<Journal['openActs']>> = [];
  world.device.before = async (verb) => {
    if (verb === 'unwrapReply' && during.length === 0) during = await journal.openActs();
  };
  expect((await approve(world, 'dave', pending)).state.status).toBe('approved');
  expect(during.length).toBeGreaterThan(0);
  let reads = 0;
  const late: Pick<Journal, 'openActs'> = {
    openActs: () => ((reads += 1) === 1 ? Promise.resolve(during) : journal.openActs()),
  };
  await keepHouse(world.escrow, late);
  expect(asked).toEqual([]);
  // the control: a record that goes on having it as open is told of
  await keepHouse(world.escrow, { openActs: () => Promise.resolve(during) });
  expect(asked).toEqual(during.map(({ id }) => id));
});

/** What the log would say if it said what the records say, of everything that housekeeping decides by. */
function rowsAsFacts(world: SymbolicWorld): LogFacts {
  const { recoveries, grants } = world;
  const all = recordsAsFacts(world);
  const grant = (id: string): GrantFacts | undefined => {
    const row = grants.get(id);
    if (row?.status !== 'active') return undefined;
    const { recovery, key, owner, spec, scope, startsAt, expiresAt, used } = row;
    const of = { recovery, key, owner, spec, label: undefined, scope, certificate: 'any' };
    const times = { startsAtMs: startsAt.getTime(), expiresAtMs: expiresAt.getTime() };
    return { ...of, ...times, maxUses: scope.maxUses, used };
  };
  const keptRelease = (id: string): ReleaseFacts | undefined => {
    const row = recoveries.get(id);
    if (row?.state.status !== 'released' || row.state.answers === undefined) return undefined;
    const { owner, keys, state } = row;
    return { owner, keys, atMs: state.at.getTime(), digest: releasedDigest(row.state.answers) };
  };
  const openIds = (): readonly string[] =>
    [...recoveries.values()].flatMap(({ id, state }) => (isOpen(state.status) ? [id] : []));
  const runningIds = (): readonly string[] => [...grants.keys()].filter((id) => grant(id) !== undefined);
  return {
    ...all,
    openRequestIds: openIds,
    grant,
    runningGrantIds: runningIds,
    keptRelease,
    // each asks again whether it is so
    due: {
      overRequests: openIds,
      releasableRequests: openIds,
      supersededRequests: () => [],
      unremindedRequests: openIds,
      overGrants: runningIds,
      uncertifiedGrants: () => [],
      releasesUntil: () => [...recoveries.keys()].filter((id) => keptRelease(id) !== undefined),
    },
  };
}

describe('the control: where the records are what the log says,', () => {
  const attacks: readonly (readonly [
    string,
    { readonly spoil: (scene: Scene) => void; readonly lost: (scene: Scene) => boolean },
  ])[] = [
    [
      'a request is ended early by another end',
      {
        spoil: ({ world, pending }) => {
          const row = world.recoveries.get(pending.id);
          if (row === undefined) throw new Error('there is no record');
          const deposits = row.keys.flatMap((key) => world.deposits.get(key) ?? []);
          const early = { ...row, expiresAt: new Date(PAST) };
          const hash = requestHash({ ...early, recovery: row.id, keys: deposits });
          putRow(world, row.id, rowOf({ ...early, requestHash: hash }));
        },
        lost: ({ world, pending }) =>
          world.entries.some(
            ({ act, subject }) => act === 'recovery.expire' && subject.recovery === pending.id,
          ),
      },
    ],
    [
      'the key of a request is destroyed by a state that has ended',
      {
        spoil: ({ world, approved }) => {
          const row = rowOf(world.recoveries.get(approved.id));
          putRow(world, approved.id, { ...row, state: { status: 'expired', at: PAST } });
        },
        lost: ({ world, approved }) => !world.device.transports.has(approved.id),
      },
    ],
    [
      'the key of a request is destroyed when its row is gone',
      {
        spoil: ({ world, pending }) => {
          putRow(world, pending.id, undefined);
        },
        lost: ({ world, pending }) => !world.device.transports.has(pending.id),
      },
    ],
    ...(
      [
        ['an end in the past', { expires_at: new Date(PAST) }],
        ['uses that nobody made', { used: 99 }],
        ['a status', { status: 'revoked' }],
      ] as const
    ).map(
      ([what, change]) =>
        [
          `a grant is destroyed by ${what}`,
          {
            spoil: ({ world, running }: Scene) => {
              putGrantRow(world, running.id, { ...grantRowOf(world.grants.get(running.id)), ...change });
            },
            lost: ({ world, running }: Scene) => !world.device.grants.has(running.id),
          },
        ] as const,
    ),
    [
      'what was released is forgotten by another time',
      {
        spoil: ({ world, released }) => {
          const row = rowOf(world.recoveries.get(released.id));
          putRow(world, released.id, { ...row, state: { ...(row['state'] as object), at: PAST } });
        },
        lost: ({ world, released }) =>
          world.entries.some(
            ({ act, subject }) => act === 'recovery.forget' && subject.recovery === released.id,
          ),
      },
    ],
  ];

  test.each(attacks)('%s', async (_what, { spoil, lost }) => {
    const scene = await makeScene();
    const { world } = scene;
    spoil(scene);
    world.facts = rowsAsFacts(world);
    await keepHouse(believingStatements(world), world.journal, strayLongAgo(world));
    expect(lost(scene)).toBe(true);
  });

  test.each(attacks)('and not where the log is asked: %s', async (_what, { spoil, lost }) => {
    const scene = await makeScene();
    spoil(scene);
    await expectNothingLost(scene);
    expect(lost(scene)).toBe(false);
  });
});
