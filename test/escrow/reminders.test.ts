import { cancelRecovery, vetoRecovery } from '../../src/escrow/acts/endRecovery.ts';
import { EscrowError } from '../../src/escrow/records/errors.js';
import { HouseMemory } from '../../src/escrow/acts/houseMemory.js';
import type { Housekeeping } from '../../src/escrow/acts/housekeeping.js';
import { keepHouse } from '../../src/escrow/acts/housekeeping.js';
import type { Journal } from '../../src/escrow/ports/journal.js';
import { noticesAbout } from '../../src/escrow/notices/facts.js';
import type { PrincipalId } from '../../src/escrow/records/ids.js';
import type { Intent, Recovery } from '../../src/escrow/records/recovery.js';
import { stopRecovery } from '../../src/escrow/acts/stopRecovery.js';
import { encodeEntry } from '../../src/log/entry/entry.js';
import { approve, ask, callOf, deny, HOUR_MS, intend, MINUTE_MS, stop, worldOf } from './symbolicPeople.js';
import type { SymbolicWorld } from './symbolicWorld.js';

/* When the delay is over that intents began, those who are to approve are told so: once, by an entry of the log. */
const slow = { operate: { delayMs: HOUR_MS, ownerMayVeto: true, replies: 'afterDelay' } };
const three = { ...slow, people: ['dana', 'dave', 'dora'], atLeast: 2 };
const lasting = { validForMs: 12 * HOUR_MS };

async function intended(...by: readonly string[]): Promise<{ world: SymbolicWorld; recovery: Recovery }> {
  const { world, keys } = await worldOf(three);
  const recovery = await ask({ world, keys }, lasting);
  for (const name of by) await intend(world, name, recovery);
  return { world, recovery };
}

function pass(world: SymbolicWorld, ms: number): void {
  world.now = new Date(world.now.getTime() + ms);
}

/** A round of housekeeping, and whom the entries of the log have told so far that the delay is over. */
async function told(world: SymbolicWorld): Promise<readonly string[]> {
  await keepHouse(world.escrow, world.journal);
  const notices = await Promise.all(
    world.entries.map((entry, index) =>
      noticesAbout(world.escrow.store, { index, entry: encodeEntry(entry) }),
    ),
  );
  return notices
    .flat()
    .filter(({ kind }) => kind === 'approval-due')
    .map(({ to }) => to);
}

test('who has said that they intend to approve is told when the delay is over, not before, and once', async () => {
  const { world, recovery } = await intended('dana', 'dave');
  expect(await told(world)).toEqual([]);
  pass(world, HOUR_MS - 1);
  expect(await told(world)).toEqual([]);
  pass(world, 1);
  expect(await told(world)).toEqual(['dana', 'dave']);
  expect(await told(world)).toEqual(['dana', 'dave']);
  expect(world.entries.filter(({ act }) => act === 'recovery.remind')).toMatchObject([
    {
      ...{ phase: 'attempted', actor: 'escrowd' },
      detail: { requestHash: recovery.requestHash, depositaries: ['dana', 'dave'] },
    },
    { phase: 'done', subject: { recovery: recovery.id, owner: 'olga' }, digest: recovery.requestHash },
  ]);
  await approve(world, 'dana', recovery);
  expect((await approve(world, 'dave', recovery)).state.status).toBe('active');
});

test('what they are told says of whose keys, for whom and why', async () => {
  const { world, recovery } = await intended('dana', 'dave');
  pass(world, HOUR_MS);
  await keepHouse(world.escrow, world.journal);
  const index = world.entries.length - 1;
  const entry = world.entries[index];
  if (entry === undefined) throw new Error('there is no entry');
  const [notice] = await noticesAbout(world.escrow.store, { index, entry: encodeEntry(entry) });
  expect(notice).toMatchObject({
    as: 'depositary',
    outcome: 'pending',
    request: { requester: 'ann', beneficiary: 'mailer', reason: 'left' },
    text:
      `The delay of request ${recovery.id} is over: as you have said that you intend to, approve it now, or deny it, ` +
      `until ${recovery.expiresAt.toISOString()}. ann asks that mailer may use the key "", owned by olga. Reason given: "left".`,
  });
});

test('each when the delay is over of a quorum that they are in', async () => {
  const { world, recovery } = await intended('dana', 'dave');
  pass(world, 30 * MINUTE_MS);
  await intend(world, 'dora', recovery);
  pass(world, 30 * MINUTE_MS);
  expect(await told(world)).toEqual(['dana', 'dave']);
  pass(world, 30 * MINUTE_MS);
  expect(await told(world)).toEqual(['dana', 'dave', 'dora']);
});

test('who has approved is told nothing, nor anybody when the quorum is complete', async () => {
  const { world, recovery } = await intended('dana', 'dave', 'dora');
  pass(world, HOUR_MS);
  await approve(world, 'dana', recovery);
  expect(await told(world)).toEqual(['dave', 'dora']);
  const late = await intended('dana', 'dave', 'dora');
  pass(late.world, HOUR_MS);
  for (const by of ['dana', 'dave']) await approve(late.world, by, late.recovery);
  expect(await told(late.world)).toEqual([]);
});

test('nobody, as long as no quorum has said so; who has not, and who is not listed any more, never', async () => {
  const { world } = await intended('dana');
  pass(world, 5 * HOUR_MS);
  expect(await told(world)).toEqual([]);
  const other = await intended('dana', 'dave', 'dora');
  pass(other.world, HOUR_MS);
  const { policy } = other.world;
  const principals = new Map([...policy.principals].filter(([id]) => id !== 'dora'));
  other.world.policy = { ...policy, version: policy.version + 1, principals };
  expect(await told(other.world)).toEqual(['dana', 'dave']);
});

test('of an intent that was said anew, since the one before had expired, again', async () => {
  const { world, keys } = await worldOf(three);
  const recovery = await ask({ world, keys }, lasting);
  await intend(world, 'dana', recovery, 2 * HOUR_MS);
  await intend(world, 'dave', recovery);
  pass(world, HOUR_MS);
  expect(await told(world)).toEqual(['dana', 'dave']);
  pass(world, 2 * HOUR_MS);
  await intend(world, 'dana', recovery);
  expect(await told(world)).toEqual(['dana', 'dave']);
  pass(world, HOUR_MS);
  expect(await told(world)).toEqual(['dana', 'dave', 'dana']);
});

/** What somebody with the database makes of the records of a request; what is said of it then. */
const TOUCHED = {
  'its row is gone': ({ recoveries }, { id }) => void recoveries.delete(id),
  'its row has another reason': ({ recoveries }, recovery) =>
    void recoveries.set(recovery.id, { ...recovery, reason: 'another' }),
  'its row has ended': ({ recoveries, now }, recovery) =>
    void recoveries.set(recovery.id, {
      ...recovery,
      state: { status: 'cancelled', by: 'ann' as PrincipalId, reason: '', at: now },
    }),
  'its row is over': ({ recoveries, now }, recovery) =>
    void recoveries.set(recovery.id, { ...recovery, expiresAt: now }),
  'the row of its key is gone': ({ deposits }, { keys: [key = ''] }) => void deposits.delete(key),
} as const satisfies Record<string, (world: SymbolicWorld, recovery: Recovery) => void>;

test.each(Object.entries(TOUCHED))(
  'where %s, that is said, and the others are told all the same',
  async (_what, touch) => {
    const { world, keys } = await worldOf(three, three);
    const [one, other] = [keys.slice(0, 1), keys.slice(1)];
    const touched = await ask({ world, keys: one }, lasting);
    const recovery = await ask({ world, keys: other }, lasting);
    for (const each of [touched, recovery])
      for (const name of ['dana', 'dave']) await intend(world, name, each);
    pass(world, HOUR_MS);
    touch(world, world.recoveries.get(touched.id) ?? touched);
    const before = world.entries.length;
    const { reminded, contradictions } = await keepHouse(world.escrow, world.journal);
    expect(reminded).toBe(1);
    expect(contradictions.map(({ id }) => id)).toEqual([touched.id]);
    const done = world.entries.slice(before).map(({ act, phase }) => `${act} ${phase}`);
    expect(done).toEqual(['recovery.remind attempted', 'recovery.remind done']);
    // nothing is tried, and recorded, round by round
    await keepHouse(world.escrow, world.journal);
    expect(world.entries).toHaveLength(before + done.length);
  },
);

/** What somebody with the database makes of one intent in the row of a request. */
const INTENTS = {
  'is gone': () => [],
  'is over': (intent, { now }) => [{ ...intent, expiresAt: now }],
  'is another': (intent) => [{ ...intent, statement: `${intent.statement} ` }],
} as const satisfies Record<string, (intent: Intent, world: SymbolicWorld) => readonly Intent[]>;

test.each(Object.entries(INTENTS))(
  'where by its row the intent of one %s, that is said, and the others are told all the same',
  async (_what, touch) => {
    const { world, recovery } = await intended('dana', 'dave', 'dora');
    pass(world, HOUR_MS);
    const row = world.recoveries.get(recovery.id) ?? recovery;
    const intents = row.intents.flatMap((one) => (one.depositary === 'dana' ? touch(one, world) : [one]));
    world.recoveries.set(row.id, { ...row, intents });
    expect(await told(world)).toEqual(['dave', 'dora']);
    const { contradictions } = await keepHouse(world.escrow, world.journal);
    expect(contradictions.map(({ id }) => id)).toEqual([recovery.id]);
    expect(await told(world)).toEqual(['dave', 'dora']);
    // the control: when it is as it was
    const now = world.recoveries.get(recovery.id) ?? row;
    world.recoveries.set(row.id, { ...now, intents: row.intents });
    expect((await keepHouse(world.escrow, world.journal)).contradictions).toEqual([]);
    expect(await told(world)).toEqual(['dave', 'dora', 'dana']);
  },
);

test('a request about which nobody is to be told yet is not read round by round, where there are many: some of them in turn', async () => {
  const REQUESTS = 40;
  const ROUNDS = 5;
  const { world, keys } = await worldOf(...Array.from({ length: REQUESTS }, () => three));
  const recoveries: Recovery[] = [];
  for (const key of keys) {
    const recovery = await ask({ world, keys: [key] }, lasting);
    for (const by of ['dana', 'dave']) await intend(world, by, recovery);
    recoveries.push(recovery);
  }
  const { store } = world.escrow;
  const findRecovery = store.findRecovery.bind(store);
  const read = new Set<string>();
  store.findRecovery = (id) => {
    read.add(id);
    return findRecovery(id);
  };
  const memory = new HouseMemory();
  const round = async (): Promise<Housekeeping> => {
    read.clear();
    return keepHouse(world.escrow, world.journal, memory);
  };
  await round();
  expect(read.size).toBe(REQUESTS);
  const inTurn = new Set<string>();
  for (let at = 0; at < ROUNDS; at += 1) {
    await round();
    expect(read.size).toBeLessThan(REQUESTS / 2);
    for (const id of read) inTurn.add(id);
  }
  expect(inTurn.size).toBe(REQUESTS);
  // what contradicts the log is found when its turn comes, and named in every round from then on
  const touched = recoveries[7];
  if (touched === undefined) throw new Error('there is a request');
  TOUCHED['its row has another reason'](world, world.recoveries.get(touched.id) ?? touched);
  const named: boolean[] = [];
  for (let at = 0; at < 2 * ROUNDS; at += 1)
    named.push((await round()).contradictions.some(({ id }) => id === touched.id));
  const first = named.indexOf(true);
  expect(first).toBeGreaterThanOrEqual(0);
  expect(first).toBeLessThan(ROUNDS);
  expect(named.slice(first)).not.toContain(false);
  // when the delay is over they are told, all of them and in one round
  pass(world, HOUR_MS);
  expect((await round()).reminded).toBe(REQUESTS - 1);
});

const ENDS = {
  'a veto': ({ escrow }, { id }) =>
    vetoRecovery(escrow, callOf('olga'), { recovery: id, reason: 'I am here' }),
  'a cancellation': ({ escrow }, { id }) =>
    cancelRecovery(escrow, callOf('ann'), { recovery: id, reason: 'seen enough' }),
  'administrators who end it': (world, recovery) =>
    stopRecovery(world.escrow, callOf('ann'), {
      recovery: recovery.id,
      statements: ['ann', 'bob'].map((by) => stop(world, by, recovery)),
    }),
  denials: async (world, recovery) => {
    for (const by of ['dana', 'dora']) await deny(world, by, recovery);
  },
  'its end': (world) => {
    pass(world, 12 * HOUR_MS);
    return Promise.resolve();
  },
} as const satisfies Record<string, (world: SymbolicWorld, recovery: Recovery) => Promise<unknown>>;

test.each(Object.entries(ENDS))('after %s nobody is told', async (_what, end) => {
  const { world, recovery } = await intended('dana', 'dave');
  await end(world, recovery);
  pass(world, HOUR_MS);
  expect(await told(world)).toEqual([]);
});

test('who has denied is told nothing, while the others still can approve', async () => {
  const { world, recovery } = await intended('dana', 'dave', 'dora');
  await deny(world, 'dana', recovery);
  pass(world, HOUR_MS);
  expect(await told(world)).toEqual(['dave', 'dora']);
});

test('of several daemons at the same time one tells, and what they recorded comes to nothing for no other', async () => {
  const { world } = await intended('dana', 'dave');
  pass(world, HOUR_MS);
  await Promise.all([1, 2, 3].map(() => keepHouse(world.escrow, world.journal)));
  expect(await told(world)).toEqual(['dana', 'dave']);
  expect(world.entries.filter(({ act }) => act === 'recovery.remind').map(({ phase }) => phase)).toEqual([
    'attempted',
    'done',
  ]);
});

test('a daemon that ends between deciding and telling leaves it to the next round', async () => {
  const { world } = await intended('dana', 'dave');
  pass(world, HOUR_MS);
  const journal = world.journal as Journal;
  const append = journal.append.bind(journal);
  journal.append = (write) =>
    write.role === 'closes' ? Promise.reject(new EscrowError('log-unavailable')) : append(write);
  await expect(keepHouse(world.escrow, world.journal)).rejects.toMatchObject({ code: 'log-unavailable' });
  journal.append = append;
  // long after
  pass(world, 3 * HOUR_MS);
  expect(await told(world)).toEqual(['dana', 'dave']);
  expect(
    world.entries.filter(({ act }) => act === 'recovery.remind').map(({ phase, error }) => error ?? phase),
  ).toEqual(['attempted', 'interrupted', 'attempted', 'done']);
});

test('an approval and a veto that come at the same time lose nothing by it', async () => {
  const { world, recovery } = await intended('dana', 'dave');
  pass(world, HOUR_MS);
  const both = await Promise.allSettled([
    keepHouse(world.escrow, world.journal),
    approve(world, 'dana', recovery),
  ]);
  expect(both.map(({ status }) => status)).toContain('fulfilled');
  if (both[1].status === 'rejected') await approve(world, 'dana', recovery);
  await keepHouse(world.escrow, world.journal);
  expect((await approve(world, 'dave', recovery)).state.status).toBe('active');
});

test('a record that leaves out an intent, or says that it came later, keeps nobody from being told who is not in it', async () => {
  const { world, recovery } = await intended('dana', 'dave', 'dora');
  pass(world, HOUR_MS);
  const row = world.recoveries.get(recovery.id);
  if (row === undefined) throw new Error('there is no record');
  const later = row.intents.map((intent) => ({ ...intent, at: world.now }));
  world.recoveries.set(row.id, { ...row, intents: later.filter(({ depositary }) => depositary !== 'dora') });
  expect(await told(world)).toEqual(['dana', 'dave']);
});
