import { vetoRecovery } from '../../../src/escrow/acts/endRecovery.ts';
import { EscrowError } from '../../../src/escrow/records/errors.js';
import type { KeyId, PrincipalId } from '../../../src/escrow/records/ids.js';
import { intendRecovery } from '../../../src/escrow/acts/intendRecovery.js';
import { repliesFromMs } from '../../../src/escrow/rules/quorumProgress.js';
import type { Recovery } from '../../../src/escrow/records/recovery.js';
import type { SymbolicWorld } from '../symbolicWorld.js';
import {
  approve,
  ask,
  callOf,
  deny,
  HOUR_MS,
  intend,
  MINUTE_MS,
  statement,
  worldOf,
} from '../symbolicPeople.js';

const slow = { operate: { delayMs: HOUR_MS, ownerMayVeto: true, replies: 'afterDelay' } };
const lasting = { validForMs: 12 * HOUR_MS };

async function codeOf(act: Promise<unknown>): Promise<string> {
  try {
    await act;
    return 'done';
  } catch (error) {
    if (error instanceof EscrowError) return error.code;
    throw error;
  }
}

function pass(world: SymbolicWorld, ms: number): void {
  world.now = new Date(world.now.getTime() + ms);
}

function acts(world: SymbolicWorld): readonly string[] {
  return world.entries.filter(({ phase }) => phase === 'done').map(({ act }) => act);
}

describe('the delay is counted from the intent that completes a quorum', () => {
  const deposits = (
    ...quorums: readonly (readonly string[])[]
  ): Parameters<typeof repliesFromMs>[0][number] =>
    ({
      deposit: {
        key: 'key_1' as KeyId,
        operate: { delayMs: 10, ownerMayVeto: false, replies: 'afterDelay' },
      },
      sealed: {
        purpose: 'operate',
        shares: [...new Set(quorums.flat())].map((depositary) => ({ depositary })),
        quorums: quorums.map((members) => ({ members })),
      },
    }) as never;
  const intents = (said: Readonly<Record<string, number>>): { depositary: PrincipalId; atMs: number }[] =>
    Object.entries(said).map(([depositary, atMs]) => ({ depositary: depositary as PrincipalId, atMs }));
  const from = (
    said: Readonly<Record<string, number>>,
    who?: string,
    ...keys: readonly (readonly (readonly string[])[])[]
  ): number | undefined =>
    repliesFromMs(
      keys.map((quorums) => deposits(...quorums)),
      intents(said),
      who as PrincipalId | undefined,
    );
  const two = [
    ['a', 'b'],
    ['a', 'c'],
    ['b', 'c'],
  ];

  test('of one key', () => {
    expect(from({ a: 1 }, undefined, two)).toBeUndefined();
    expect(from({ a: 1, b: 5 }, undefined, two)).toBe(15);
    expect(from({ a: 1, b: 5, c: 7 }, undefined, two)).toBe(15);
  });

  test('for one depositary, of a quorum that they are in', () => {
    expect(from({ a: 1, b: 5, c: 7 }, 'c', two)).toBe(17);
    expect(from({ a: 1, b: 5 }, 'c', two)).toBeUndefined();
    expect(from({ a: 1, b: 5, c: 7 }, 'a', two)).toBe(15);
  });

  test('of several keys, when all have one', () => {
    expect(from({ a: 1, b: 5 }, 'a', two, [['c']])).toBeUndefined();
    expect(from({ a: 1, b: 5, c: 9 }, 'a', two, [['c']])).toBe(19);
  });
});

test('intents, the delay, approvals: nothing is opened before', async () => {
  const { world, keys } = await worldOf(slow);
  const recovery = await ask({ world, keys }, lasting);
  let opened = 0;
  world.device.before = (verb) => {
    if (verb === 'unwrapReply') opened += 1;
  };
  expect(await codeOf(approve(world, 'dana', recovery))).toBe('intents-incomplete');
  await intend(world, 'dana', recovery);
  expect(await codeOf(approve(world, 'dana', recovery))).toBe('intents-incomplete');
  pass(world, MINUTE_MS);
  await intend(world, 'dave', recovery);
  pass(world, HOUR_MS - 1);
  expect(await codeOf(approve(world, 'dana', recovery))).toBe('delay-running');
  expect(opened).toBe(0);
  pass(world, 1);
  expect((await approve(world, 'dana', recovery)).state.status).toBe('pending');
  expect((await approve(world, 'dave', recovery)).state.status).toBe('active');
});

test.each(['veto', 'expiry'])('after %s nothing goes on', async (what) => {
  const { world, keys } = await worldOf(slow);
  const recovery = await ask({ world, keys }, lasting);
  for (const by of ['dana', 'dave']) await intend(world, by, recovery);
  if (what === 'veto') {
    await vetoRecovery(world.escrow, callOf('olga'), { recovery: recovery.id, reason: 'I am here' });
  }
  pass(world, what === 'veto' ? 2 * HOUR_MS : 13 * HOUR_MS);
  const code = what === 'veto' ? 'recovery-ended' : 'recovery-expired';
  expect(await codeOf(approve(world, 'dana', recovery))).toBe(code);
  expect(await codeOf(intend(world, 'dave', recovery))).toBe(code);
  expect(acts(world)).not.toContain('recovery.approve');
});

test('an intent that has expired counts no more, and can be said again', async () => {
  const { world, keys } = await worldOf(slow);
  const recovery = await ask({ world, keys }, lasting);
  await intend(world, 'dana', recovery, HOUR_MS);
  pass(world, HOUR_MS);
  await intend(world, 'dave', recovery);
  expect(await codeOf(approve(world, 'dave', recovery))).toBe('intents-incomplete');
  await intend(world, 'dana', recovery);
  expect(await codeOf(approve(world, 'dave', recovery))).toBe('delay-running');
});

test('who denies after all has no intent any more, and cannot say it again', async () => {
  const { world, keys } = await worldOf({ ...slow, people: ['dana', 'dave', 'dora'], atLeast: 2 });
  const recovery = await ask({ world, keys }, lasting);
  for (const by of ['dana', 'dave']) await intend(world, by, recovery);
  await deny(world, 'dana', recovery);
  expect(await codeOf(intend(world, 'dana', recovery))).toBe('approval-duplicate');
  pass(world, HOUR_MS - 1);
  expect(await codeOf(approve(world, 'dave', recovery))).toBe('intents-incomplete');
});

test('with a key that takes replies at once, the request waits as the other has it', async () => {
  const { world, keys } = await worldOf({}, slow);
  const recovery = await ask({ world, keys }, lasting);
  expect(await codeOf(approve(world, 'dana', recovery))).toBe('intents-incomplete');
  const first = keys.slice(0, 1);
  const other = await ask({ world, keys: first }, lasting);
  expect(await codeOf(intend(world, 'dana', other))).toBe('intent-not-needed');
  expect((await approve(world, 'dana', other)).state.status).toBe('pending');
});

test('a request that does not outlive the delay is refused', async () => {
  const { world, keys } = await worldOf(slow);
  expect(await codeOf(ask({ world, keys }, { validForMs: HOUR_MS }))).toBe('scope-not-allowed');
});

describe('the database decides nothing about intents', () => {
  /** What one UPDATE of the record can say; both people have said theirs a minute ago. */
  const CHANGES: Readonly<Record<string, (recovery: Recovery) => Recovery>> = {
    'earlier times': (recovery) => ({
      ...recovery,
      intents: recovery.intents.map((intent) => ({ ...intent, at: new Date(0) })),
    }),
    'other ends': (recovery) => ({
      ...recovery,
      intents: recovery.intents.map((intent) => ({ ...intent, expiresAt: new Date('2100-01-01') })),
    }),
    'other people': (recovery) => ({
      ...recovery,
      intents: recovery.intents.map((intent, at) => ({
        ...intent,
        depositary: (at === 0 ? 'dave' : 'dana') as PrincipalId,
      })),
    }),
    'other statements': (recovery) => ({
      ...recovery,
      intents: recovery.intents.map((intent) => ({ ...intent, statement: `${intent.statement} ` })),
    }),
    'an approved state': (recovery) => ({
      ...recovery,
      state: { status: 'approved', releasableAt: new Date(0), holdsUntil: new Date('2100-01-01') },
    }),
    'no denial, where there is one': (recovery) => ({ ...recovery, denials: [] }),
  };

  test.each(Object.keys(CHANGES))('%s', async (name) => {
    const { world, keys } = await worldOf({ ...slow, people: ['dana', 'dave', 'dora'], atLeast: 2 });
    const recovery = await ask({ world, keys }, lasting);
    for (const by of ['dana', 'dave']) await intend(world, by, recovery);
    if (name.startsWith('no denial')) await deny(world, 'dave', recovery);
    pass(world, MINUTE_MS);
    const row = world.recoveries.get(recovery.id);
    if (row === undefined) throw new Error('there is no record');
    const change = CHANGES[name];
    world.recoveries.set(recovery.id, change?.(row) ?? row);
    expect(['delay-running', 'intents-incomplete', 'record-mismatch']).toContain(
      await codeOf(approve(world, 'dana', recovery)),
    );
    world.recoveries.set(recovery.id, row);
  });

  test('a delay that is none, in the record of the deposit', async () => {
    const { world, keys } = await worldOf(slow);
    const recovery = await ask({ world, keys }, lasting);
    for (const by of ['dana', 'dave']) await intend(world, by, recovery);
    const deposit = world.deposits.get(keys[0] ?? '');
    if (deposit?.operate === undefined) throw new Error('there is no deposit');
    const { replies, ...atOnce } = deposit.operate;
    expect(replies).toBe('afterDelay');
    for (const operate of [{ ...deposit.operate, delayMs: 0 }, atOnce]) {
      world.deposits.set(deposit.key, { ...deposit, operate });
      expect(await codeOf(approve(world, 'dana', recovery))).toBe('record-mismatch');
      world.deposits.set(deposit.key, deposit);
    }
  });

  test('the control: where the record is asked and not the log, an earlier time lets a reply in', async () => {
    const { world, keys } = await worldOf(slow);
    const recovery = await ask({ world, keys }, lasting);
    for (const by of ['dana', 'dave']) await intend(world, by, recovery);
    const row = world.recoveries.get(recovery.id);
    const logged = world.facts.request(recovery.id);
    if (row === undefined || logged === undefined) throw new Error('there is no record');
    const intents = row.intents.map((intent) => ({ ...intent, at: new Date(0) }));
    world.recoveries.set(recovery.id, { ...row, intents });
    expect(await codeOf(approve(world, 'dana', recovery))).toBe('delay-running');
    const { facts } = world;
    const told = new Map([...logged.intents].map(([who, fact]) => [who, { ...fact, atMs: 0 }] as const));
    const request = { ...logged, intents: told };
    world.facts = {
      policy: facts.policy,
      request: () => request,
      grant: (id) => facts.grant(id),
      openRequestIds: () => facts.openRequestIds(),
      keptRelease: (id) => facts.keptRelease(id),
      due: facts.due,
      grantsNamed: (app, name) => facts.grantsNamed(app, name),
      runningGrantIds: () => facts.runningGrantIds(),
      importPair: (id) => facts.importPair(id),
      importPairIds: () => facts.importPairIds(),
      openAttempts: () => facts.openAttempts(),
      deposit: (key) => facts.deposit(key),
      lastUsedMs: () => undefined,
      drill: () => undefined,
      heldBy: () => ({ keys: 0, due: 0 }),
      depositGroups: () => [],
      depositsBeingMade: () => [],
      secondary: (index) => facts.secondary(index),
      openAttempt: (act) => facts.openAttempt(act),
      creation: (principal, key) => facts.creation(principal, key),
      asOf: (act) => {
        const asOf = facts.asOf(act);
        return asOf && { ...asOf, request };
      },
    };
    expect(await codeOf(approve(world, 'dana', recovery))).toBe('done');
  });
});

test('intents are acts of their own in the log, and need no token', async () => {
  const { world, keys } = await worldOf(slow);
  const recovery = await ask({ world, keys }, lasting);
  world.device.isOut = true;
  await intend(world, 'dana', recovery);
  expect(acts(world).at(-1)).toBe('recovery.intend');
  const forged = statement(world, 'dana', recovery, { decision: 'intend' }, 'escrowd-intent+jwt');
  const order = { recovery: recovery.id, statement: forged };
  expect(await codeOf(intendRecovery(world.escrow, callOf('dave'), order))).toBe(
    'approval-signature-invalid',
  );
});
