import { NotHeld, type JournalWrite } from '../../escrow/ports/journal.js';
import { changeStatements, takeChange } from './changes.js';
import { byteaArray, textArray } from './binaryArrays.js';
import { claimStatements, heldRecovery, isKeyed, holdClaim } from './claims.js';
import { faultOf, safeInteger } from '../faults.js';
import type { Clocks } from '../clocks.js';
import {
  noLockedRows,
  readsFor,
  type LockedRows,
  type Send,
  type Statement,
  type LockAndRead,
  type Undo,
} from './lockedRows.js';
import type { SignedBatch, Writer } from '../log/writer.js';

/** What the judge said of each write of a batch. */
export interface Verdict {
  readonly kept: readonly JournalWrite[];
  readonly refused: ReadonlyMap<JournalWrite, NotHeld>;
}

/** Writes that were judged, and those of them that are kept as they were signed. */
export interface Judged {
  readonly verdict: Verdict;
  readonly signed: SignedBatch;
}

/**
 * What became of a batch. `recorded` without `stands`: nothing of it was kept. `unknown`: the connection was lost after the
 * commit had been sent.
 */
export type BatchOutcome =
  | {
      readonly outcome: 'recorded';
      readonly verdict: Verdict;
      /** The entries as they were signed, and the index of the first one. */
      readonly stands: { readonly signed: SignedBatch; readonly base: number } | undefined;
    }
  | ({ readonly outcome: 'unknown'; readonly cause: unknown } & Judged);

/** A transaction that was begun for these writes: what they stand on is being locked and read. */
export interface BegunBatch {
  readonly locked: Promise<LockedRows>;
}

/**
 * Begins to record the writes of a batch in one transaction (READ COMMITTED): sends what locks and reads what they stand on,
 * behind whatever was sent before, and waits for nothing. {@link writeBatch} goes on from there. Attempts are recorded only
 * while `clocks` agree, where they are given.
 */
export function beginBatch(send: Send, writes: readonly JournalWrite[], clocks?: Clocks): BegunBatch {
  const locked = noLockedRows();
  const surveys = [
    ...(clocks !== undefined && opensAny(writes) ? [compare(clocks)] : []),
    ...readsFor(writes),
  ];
  const surveyed = allOf([send(begin), ...surveys.map((survey) => survey(send, locked))]).then(() => locked);
  // Who has begun a batch may find that it is not to be written.
  surveyed.catch(() => undefined);
  return { locked: surveyed };
}

/**
 * Records those of a begun batch's `writes` that hold: judges them, and sends what writes them, the entries, and the commit.
 * Resolves when all is sent, so that the next batch can be begun behind it; what is sent is answered in `outcome`. The kept
 * entries have the indexes `base`, `base` + 1 and so on, in their order. Either rejects when certainly nothing was recorded,
 * with what the driver says or, when a write cannot be put in SQL at all, with what says so; the connection may then be in a
 * transaction that is to be rolled back.
 */
export async function writeBatch(
  send: Send,
  writer: Writer,
  begun: BegunBatch,
  writes: readonly JournalWrite[],
): Promise<{ readonly outcome: Promise<BatchOutcome> }> {
  const locked = await begun.locked;
  const verdict = judge(writes, locked);
  if (verdict.kept.length === 0) {
    const nothing = { outcome: 'recorded', verdict, stands: undefined } as const;
    return { outcome: send(rollback).then(() => nothing) };
  }
  // All of them before the first is sent: what cannot be put in SQL throws here, with nothing written.
  const before = statementsBefore(verdict.kept, locked);
  const after = statementsAfter(verdict.kept, locked, writer.id);
  const columns = entryArrays(verdict.kept);
  const signed = writer.sign(verdict.kept.map(({ entry }) => entry));
  const appended = append(signed, columns);
  const sent = before.map((statement) => send(statement));
  const appending = send<{ base: string }>(appended);
  const all = allOf([...sent, appending, ...[...after, commit].map((statement) => send(statement))]);
  const based = all.then(() => appending);
  return { outcome: outcomeOf(based, { verdict, signed }, writer) };
}

/** The database was asked, and has recorded nothing. */
export class NotRecorded extends Error {
  override readonly name = 'NotRecorded';
}

/**
 * What became of writes that were sent: the first row of `appending` has the index of the first one. Rejects when certainly
 * nothing was recorded.
 */
export async function outcomeOf(
  appending: Promise<readonly { readonly base: string | null }[]>,
  { verdict, signed }: Judged,
  writer: Writer,
): Promise<BatchOutcome> {
  try {
    const [head] = await appending;
    if (head === undefined) throw new Error('the log has no head');
    if (head.base === null) throw new NotRecorded('the clocks are apart, or the server was slow to begin');
    const base = safeInteger(head.base);
    writer.stands(signed);
    return { outcome: 'recorded', verdict, stands: { signed, base } };
  } catch (cause) {
    if (!(cause instanceof NotRecorded) && faultOf(cause) === 'lost')
      return { outcome: 'unknown', verdict, signed, cause };
    // A statement that failed has aborted the transaction, and the commit behind it was a rollback.
    writer.isVoid(signed);
    throw cause;
  }
}

/** Whether an act begins with one of these. */
export function opensAny(writes: readonly JournalWrite[]): boolean {
  return writes.some(({ role }) => role === 'opens');
}

function compare(clocks: Clocks): LockAndRead {
  return async (send, locked) => {
    locked.clocksAgree = await clocks.agreeOn(send);
  };
}

/** Judges each write as if those before it that hold were written. Changes `locked` to what it is after all of them. */
export function judge(writes: readonly JournalWrite[], locked: LockedRows): Verdict {
  const kept: JournalWrite[] = [];
  const refused = new Map<JournalWrite, NotHeld>();
  for (const write of writes) {
    const fault = takeWrite(write, locked);
    if (fault === undefined) kept.push(write);
    else refused.set(write, new NotHeld(fault));
  }
  return { kept, refused };
}

/** Takes all that a write needs, or nothing and says what does not hold. */
function takeWrite(write: JournalWrite, locked: LockedRows): NotHeld['what'] | undefined {
  const parts: readonly (readonly [NotHeld['what'], () => Undo | undefined])[] = [
    ...(write.role === 'opens' ? [['clocks-agree', () => agreed(locked)] as const] : []),
    ...(write.role === 'closes' ? [['act-open', () => takeOpenAct(write, locked)] as const] : []),
    ...write.claims.map((claim) => [claim.claim, () => holdClaim(claim, locked)] as const),
    ...write.changes.map((change) => [change.change, () => takeChange(change, locked)] as const),
  ];
  const taken: Undo[] = [];
  for (const [what, take] of parts) {
    const undo = take();
    if (undo === undefined) {
      for (const each of taken.reverse()) each();
      return what;
    }
    taken.push(undo);
  }
  if (write.role === 'opens') openAct(write, locked);
  return undefined;
}

function agreed({ clocksAgree }: LockedRows): Undo | undefined {
  return clocksAgree ? () => undefined : undefined;
}

function openAct(write: JournalWrite, locked: LockedRows): void {
  const held = heldRecovery(write);
  locked.openActs.set(write.id, held);
  if (held !== undefined) locked.heldRecoveries.add(held);
  if (isKeyed(write)) locked.keyedActs.add(write.id);
}

function takeOpenAct({ id }: JournalWrite, locked: LockedRows): Undo | undefined {
  if (!locked.openActs.has(id)) return undefined;
  const held = locked.openActs.get(id);
  locked.openActs.delete(id);
  if (held !== undefined) locked.heldRecoveries.delete(held);
  return () => {
    locked.openActs.set(id, held);
    if (held !== undefined) locked.heldRecoveries.add(held);
  };
}

/** What is written besides the entries, before the head is locked. What closes may free what another act of the batch holds. */
function statementsBefore(kept: readonly JournalWrite[], locked: LockedRows): readonly Statement[] {
  const closing = kept.filter((write) => write.role === 'closes').map(({ id }) => id);
  return [
    ...kept.flatMap((write) => write.changes).flatMap(changeStatements),
    ...claimStatements(kept, locked),
    ...(closing.length > 0 ? [closeActs(closing)] : []),
  ];
}

/** What says where entries stand; the head is the last of them. */
function statementsAfter(
  kept: readonly JournalWrite[],
  locked: LockedRows,
  instance: string,
): readonly Statement[] {
  const placed = kept.map((write, place) => ({ write, fromHead: kept.length - place }));
  const opening = placed.filter(({ write: { id, role } }) => role === 'opens' && locked.openActs.has(id));
  const ended = placed.filter(({ write: { id, role } }) => role === 'closes' && locked.keyedActs.has(id));
  return [
    ...(opening.length > 0 ? [openActs(opening, instance)] : []),
    ...(ended.length > 0 ? [noteOutcomes(ended)] : []),
  ];
}

/** A write whose entry stands so many places before the head. */
interface Placed {
  readonly write: JournalWrite;
  readonly fromHead: number;
}

function closeActs(ids: readonly string[]): Statement {
  return { name: 'close-acts', text: 'delete from open_act where id = any($1::text[])', values: [ids] };
}

function openActs(opening: readonly Placed[], instance: string): Statement {
  return {
    name: 'open-acts',
    text: `insert into open_act (id, instance, holds_recovery, keyed, seq)
           select u.id, $1, u.holds_recovery, u.keyed, h.size - u.from_head
           from log_head h, unnest($2::text[], $3::text[], $4::bool[], $5::int[]) as u (id, holds_recovery, keyed, from_head)
           where h.id = 1 order by u.id`,
    values: [
      instance,
      opening.map(({ write }) => write.id),
      opening.map(({ write }) => heldRecovery(write) ?? null),
      opening.map(({ write }) => isKeyed(write)),
      opening.map(({ fromHead }) => fromHead),
    ],
  };
}

function noteOutcomes(ended: readonly Placed[]): Statement {
  return {
    name: 'note-outcomes',
    text: `insert into idempotency_outcome (act, seq)
           select u.act, h.size - u.from_head from log_head h, unnest($1::text[], $2::int[]) as u (act, from_head)
           where h.id = 1`,
    values: [ended.map(({ write }) => write.id), ended.map(({ fromHead }) => fromHead)],
  };
}

/**
 * One statement: takes as many indexes as there are entries from the head, which stays locked until the commit, and
 * inserts the entries there. So indexes are dense, and are seen by others in their order.
 */
function append(signed: SignedBatch, columns: readonly Buffer[]): Statement {
  return {
    name: 'append',
    text: `with head as (
             update log_head set size = size + $1 where id = 1 returning size - $1 as base
           ), appended as (
             insert into log_entry (seq, id, part, entry, about_key, about_owner, about_recovery, about_grant)
             select head.base + u.place - 1, u.id, u.part, u.entry, u.key, u.owner, u.recovery, u.grant_id
             from head, unnest($2::text[], $3::text[], $4::bytea[], $5::text[], $6::text[], $7::text[], $8::text[])
               with ordinality as u (id, part, entry, key, owner, recovery, grant_id, place)
           ), signed as (
             insert into log_batch (first, count, writer, counter, follows, since, signature)
             select head.base, $1, $9::text, $10::bigint, $11::bigint, $12::bigint, $13::bytea from head
           )
           select base from head`,
    values: [
      signed.entries.length,
      ...columns,
      signed.writer,
      signed.counter,
      signed.follows,
      signed.since,
      Buffer.from(signed.signature),
    ],
  };
}

/** The columns of entries, as both statements that append take them: id, part, entry, key, owner, recovery, grant. */
export function entryArrays(writes: readonly JournalWrite[]): readonly Buffer[] {
  return [
    textArray(writes.map(({ id }) => id)),
    textArray(writes.map(({ role }) => role)),
    byteaArray(writes.map(({ entry }) => entry)),
    textArray(writes.map(({ about }) => about.key)),
    textArray(writes.map(({ about }) => about.owner)),
    textArray(writes.map(({ about }) => about.recovery)),
    textArray(writes.map(({ about }) => about.grant)),
  ];
}

/** Waits until all have settled, so that the connection is quiet; then throws the first error, in their order. */
async function allOf(sent: readonly Promise<unknown>[]): Promise<void> {
  const settled = await Promise.allSettled(sent);
  for (const each of settled) if (each.status === 'rejected') throw each.reason;
}

const begin: Statement = { name: 'begin', text: 'begin isolation level read committed', values: [] };
const commit: Statement = { name: 'commit', text: 'commit', values: [] };
/** Ends whatever transaction the connection is in. */
export const rollback: Statement = { name: 'rollback', text: 'rollback', values: [] };
