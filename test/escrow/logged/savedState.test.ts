import { isDeepStrictEqual, types } from 'node:util';
import { deserialize, serialize } from 'node:v8';

import { denyRecovery } from '../../../src/escrow/acts/denyRecovery.ts';
import { cancelRecovery, vetoRecovery } from '../../../src/escrow/acts/endRecovery.ts';
import type { SavedState } from '../../../src/escrow/logged/logState.js';
import { LogState } from '../../../src/escrow/logged/logState.js';
import { signWithGrant } from '../../../src/escrow/acts/useGrant.js';
import { revokeGrant } from '../../../src/escrow/acts/revokeGrant.ts';
import { activateRecovery } from '../../../src/escrow/acts/activateRecovery.js';
import { resealKeys } from '../../../src/escrow/acts/carryingOut/resealKeys.js';
import { releaseKeys } from '../../../src/escrow/acts/releaseKeys.ts';
import { encodeEntry } from '../../../src/log/entry/entry.js';
import {
  approve,
  ask,
  callOf,
  due,
  newScene,
  outcomeOf,
  policyWith,
  statementOf,
} from '../../adversary/database/scene.js';
import { policyApplied } from '../loggedEntries.js';
import type { Said } from '../../adversary/database/loggedActs.js';
import { activated, entriesOf, filed, TIME } from '../../adversary/database/loggedActs.js';
import { LIMITS_MS } from '../../support/limits.js';

jest.setTimeout(LIMITS_MS.drawn);

/*
 * A state that was saved after any entry goes on from there as the one that took them all: nothing that it decides by is left
 * out of what is saved.
 */

/** Entries of a life: requests that end in every way or stay open, a grant in use, a new policy, and a grant with a rate. */
async function life(): Promise<readonly Uint8Array[]> {
  const { world, key, other } = await newScene();
  const because = 'because';
  const { escrow } = world;
  const vetoed = await due(world, key, 'release');
  await vetoRecovery(escrow, callOf('olga'), { recovery: vetoed.id, reason: because });
  const cancelled = await ask(world, other, 'operate');
  await cancelRecovery(escrow, callOf('dana'), { recovery: cancelled.id, reason: because });
  const denied = await ask(world, key, 'release');
  await approve(world, 'dana', denied);
  const statement = statementOf(world, 'dora', denied, { decision: 'deny', reason: 'no' });
  await denyRecovery(escrow, callOf('dora'), { recovery: denied.id, statement });
  const released = await due(world, other, 'release');
  await releaseKeys(escrow, callOf('dana'), { recovery: released.id });
  for (const end of ['revoked', 'open']) {
    const { id } = await due(world, key, 'operate');
    const [grant] = (await activateRecovery(escrow, callOf('dana'), { recovery: id })).answer;
    if (grant === undefined) throw new Error('not activated');
    const inputs = { kind: 'message', items: [Buffer.from('letter')] } as const;
    const use = { grant: grant.id, mechanism: 'RS256', inputs } as const;
    await signWithGrant(escrow, callOf('mailer'), use);
    if (end === 'revoked') await revokeGrant(escrow, callOf('olga'), { grant: grant.id, reason: because });
    expect(await outcomeOf(signWithGrant(escrow, callOf('printer'), use))).not.toBe('done');
  }
  await approve(world, 'dana', await ask(world, other, 'operate'));
  // one request of this key is open, and comes to nothing by this
  await approve(world, 'dana', await ask(world, key, 'operate'));
  const { id: reseal } = await due(world, key, 'reseal');
  await resealKeys(escrow, callOf('dana'), { recovery: reseal });
  const uses = { inputs: ['a', 'b'], mechanism: 'RS256', input: 'message' };
  const use = { subject: { grant: 'grant_r', key: 'key_1' }, actor: 'mailer', detail: uses };
  return [
    ...world.entries.map(encodeEntry),
    ...policyApplied(policyWith({ removed: ['dora'] })),
    ...entriesOf('recovery.request', filed('rec_r')),
    ...entriesOf('recovery.activate', activated('rec_r', 'grant_r')),
    ...[1, 2, 3].flatMap(() => entriesOf('grant.sign', use)),
    ...entriesOf('grant.certify', { ...use, outcome: { certificate: 'a.b.c' } }),
    // drills: one with a hash of the chain, one that failed, and one that is begun
    ...entriesOf('key.generate', { subject: { key: 'key_d' } }),
    ...entriesOf('key.drill', drilling('operate', 'A', 'opened')),
    ...entriesOf('key.drill', drilling('release', null, 'link-unopened')),
    ...entriesOf('key.drill', drilling('operate', 'B', 'opened')).slice(0, 1),
    // orders by Idempotency-Keys: done, refused, and begun
    ...entriesOf('key.generate', { subject: { key: 'key_i' }, request: requestWith('one') }),
    ...entriesOf('recovery.request', { ...filed('rec_i'), request: requestWith('two') }).slice(0, 1),
    ...entriesOf('grant.sign', { ...use, request: requestWith('three') }),
    // import keys: one that stands, one that was used, one that is over, and one that is made now
    ...['imp_1', 'imp_2', 'imp_3'].flatMap((id) => entriesOf('import.prepare', preparing(id))),
    ...entriesOf('key.import', { subject: { key: 'key_k' }, detail: { import: 'imp_2' } }),
    ...entriesOf('import.expire', { detail: { import: 'imp_3' }, outcome: { import: 'imp_3' } }),
    ...entriesOf('import.prepare', preparing('imp_4')).slice(0, 1),
    // begun, and not ended
    ...entriesOf('key.generate', { subject: { key: 'key_j' }, detail: { quorums: [['dana']] } }).slice(0, 1),
    ...entriesOf('recovery.request', filed('rec_s')),
    ...entriesOf('recovery.intend', { subject: { recovery: 'rec_s' }, outcome: { intendedAt: TIME } }),
    ...entriesOf('recovery.remind', {
      subject: { recovery: 'rec_s' },
      outcome: { depositaries: ['dana'] },
    }),
    ...entriesOf('recovery.intend', { subject: { recovery: 'rec_s' }, outcome: { intendedAt: TIME } }),
    ...entriesOf('recovery.approve', {
      subject: { recovery: 'rec_s' },
      outcome: { releasableAt: TIME, holdsUntil: '2026-02-03T05:00:00.000Z' },
    }),
    ...entriesOf('recovery.approve', {
      subject: { recovery: 'rec_s' },
      outcome: { releasableAt: TIME },
    }).slice(0, 1),
  ];
}

/** A drill of one share. */
function drilling(purpose: string, preimage: string | null, result: string): Said {
  const drill = { key: 'key_d', purpose, generation: 1 };
  return {
    subject: { keys: ['key_d'] },
    actor: 'dana',
    detail: { drills: [{ ...drill, preimage: preimage?.repeat(43) ?? null }] },
    outcome: { results: [{ ...drill, result }] },
  };
}

/** An import key that is made. */
function preparing(id: string): Said {
  const detail = { import: id, expiresAt: TIME };
  return { detail, outcome: detail };
}

/** A request as it is signed, with this Idempotency-Key. */
function requestWith(ik: string): string {
  return ['{}', JSON.stringify({ ik }), 'signature']
    .map((part) => Buffer.from(part).toString('base64url'))
    .join('.');
}

/** A value as plain arrays and objects, whatever realm it is of. */
function plain(value: unknown): unknown {
  if (types.isMap(value)) return { map: [...value].map(plain) };
  if (types.isSet(value)) return { set: [...value].map(plain) };
  if (types.isUint8Array(value)) return sortedSlots(value);
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, member]) => [
      name,
      name === 'drills' && types.isUint8Array(member) ? sortedSlots(member, 68) : plain(member),
    ]),
  );
}

/** The newest deposits of keys have no order, nor have drills. */
function sortedSlots(facts: Uint8Array, bytes = 72): readonly string[] {
  const slots = [];
  for (let at = 0; at < facts.length; at += bytes)
    slots.push(Buffer.from(facts.subarray(at, at + bytes)).toString('hex'));
  return slots.sort();
}

function restored(state: LogState): LogState {
  const again = new LogState();
  again.restore(deserialize(serialize(state.save())) as SavedState);
  return again;
}

/** Instants before, between and after those of the entries. */
const INSTANTS = [TIME, '2026-03-01T12:00:00.000Z'].flatMap((time) =>
  [-1, 0, 1, 29, 31, 59, 61, 24 * 60, 24 * 60 * 365].map((minutes) => Date.parse(time) + minutes * 60_000),
);

/** What is due by a state at some instants, in no order. */
function duesOf({ due }: LogState): readonly (readonly (readonly string[])[])[] {
  return INSTANTS.map((ms) =>
    [
      due.overRequests(ms),
      due.releasableRequests(ms),
      due.unremindedRequests(),
      due.overGrants(ms),
      due.uncertifiedGrants(),
      due.releasesUntil(ms),
      due.supersededRequests(),
    ].map((ids) => [...ids].sort()),
  );
}

/** The same by what is saved: all that there is, looked through. */
function listed(state: LogState): unknown {
  const { requests, grants, releases } = state.save();
  const open = [...requests.open];
  const running = [...grants].map(([id, { facts }]) => [id, facts] as const);
  const ids = <T>(all: Iterable<readonly [string, T]>, isDue: (facts: T) => boolean): readonly string[] =>
    [...all].flatMap(([id, facts]) => (isDue(facts) ? [id] : [])).sort();
  return INSTANTS.map((ms) => [
    ids(open, ({ expiresAtMs, holdsUntilMs = expiresAtMs }) => Math.max(expiresAtMs, holdsUntilMs) <= ms),
    ids(
      open,
      ({ scope, reseal, isSuperseded, holdsUntilMs, releasableAtMs = Infinity }) =>
        (scope ?? reseal) !== undefined &&
        holdsUntilMs !== undefined &&
        releasableAtMs <= ms &&
        !isSuperseded,
    ),
    ids(
      open,
      ({ intents, reminded, denials, isSuperseded }) =>
        !isSuperseded && [...intents.keys()].some((one) => !reminded.has(one) && !denials.has(one)),
    ),
    ids(running, ({ expiresAtMs, used, maxUses }) => expiresAtMs <= ms || used >= maxUses),
    ids(running, ({ certificate }) => certificate === undefined),
    ids(releases, ({ atMs }) => atMs <= ms),
    ids(open, ({ isSuperseded }) => isSuperseded),
  ]);
}

it('a state that was saved after any entry goes on as the one that took them all', async () => {
  const entries = await life();
  expect(entries.length).toBeGreaterThan(60);
  const whole = new LogState();
  const later: LogState[] = [];
  let everDue = [false, false, false, false, false, false, false];
  for (const [index, entry] of entries.entries()) {
    later.push(restored(whole));
    for (const state of [whole, ...later]) state.take(index, entry);
    const expected = plain(whole.save());
    const dues = duesOf(whole);
    expect(dues).toEqual(listed(whole));
    everDue = everDue.map((was, which) => was || dues.some((lists) => (lists[which] ?? []).length > 0));
    for (const state of later) {
      expect(duesOf(state)).toEqual(dues);
      const actual = plain(state.save());
      // most of the time of this test is in how jest compares
      if (!isDeepStrictEqual(actual, expected)) expect(actual).toEqual(expected);
    }
  }
  expect(everDue).toEqual([true, true, true, true, true, true, true]);
  const { requests, grants, attempts, policy, calls, creations, deposits, importPairs } = whole.save();
  expect([requests.open.size, grants.size, attempts.size, policy?.version]).toEqual([4, 2, 5, 2]);
  // the hash of the attempt that is open is not the next one
  expect(whole.drill('key_d', 'operate', 'dana')).toMatchObject({ shown: 1, isOpened: true, isProven: true });
  expect(whole.drill('key_d', 'release', 'dana')).toMatchObject({ shown: 0, isOpened: false });
  expect([deposits.groups.length, deposits.open.size]).toEqual([2, 1]);
  expect([...importPairs.keys()]).toEqual(['imp_1']);
  expect([calls.recent.size + calls.before.size > 0, creations.byName.size, creations.open.size]).toEqual([
    true,
    2,
    1,
  ]);
});

it('the facts of a request are the same object for an attempt on it, before and after', () => {
  const state = new LogState();
  const [attempt = new Uint8Array()] = entriesOf(
    'recovery.veto',
    { subject: { recovery: 'rec_1' } },
    'act_1' as never,
  );
  for (const entry of [...entriesOf('recovery.request', filed('rec_1')), attempt]) state.take(0, entry);
  for (const each of [state, restored(state)]) {
    expect(each.request('rec_1')).toBeDefined();
    expect(each.asOf('act_1')?.request).toBe(each.request('rec_1'));
  }
});
