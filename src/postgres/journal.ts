import { setImmediate, setTimeout as delay } from 'node:timers/promises';
import { DatabaseError } from 'pg';
import { EscrowError } from '../escrow/errors.js';
import type { ActId } from '../escrow/ids.js';
import type { Journal, JournalWrite, OpenAct, Subject } from '../escrow/journal.js';
import { connectAppender, fateOf, type Appender } from './appender.js';
import { beginBatch, rollback, writeBatch, type BatchOutcome, type BegunBatch } from './batch.js';
import type { Connection } from './connection.js';
import { faultOf, LogDamaged, UnsafeDatabase } from './faults.js';
import type { Lease } from './instances.js';
import type { Pool } from './pool.js';

export interface JournalOptions {
  readonly connection: Connection;
  readonly pool: Pool;
  readonly lease: Lease;
  readonly timeouts: { readonly connectMs: number; readonly appendMs: number };
  readonly log: { warn(message: string): void; info(message: string): void };
  /** The log's size, as far as this daemon knows it. */
  readonly size: number;
  /** Told after entries were appended. */
  readonly onAppended: (size: number) => void;
}

/** A write whose caller waits. */
interface Waiting {
  readonly write: JournalWrite;
  readonly resolve: (index: number) => void;
  readonly reject: (error: unknown) => void;
  /** Answered, or given up by its deadline. */
  settled: boolean;
}

/** Writes that are recorded together, or not at all, on the connection where that was begun. */
interface Batch {
  readonly appender: Appender;
  readonly waiting: readonly Waiting[];
  readonly begun: BegunBatch;
}

const batchLimit = 1000;
const batchLimitBytes = 4 * 1024 * 1024;
/** How often a batch is tried as it is when other transactions are in its way; then its writes are tried apart. */
const contentionLimit = 5;
const longestPauseMs = 500;

/**
 * Groups what is appended: while one batch is being recorded, all that comes waits and is the next one. There is one
 * transaction at a time, on one connection.
 */
export class PostgresJournal implements Journal {
  readonly #options: JournalOptions;
  readonly #queue: Waiting[] = [];
  #leader: Promise<void> | undefined;
  #appender: Appender | undefined;
  #size: number;
  #pauseMs = 0;
  #cause: unknown;
  #closed = false;

  constructor(options: JournalOptions) {
    this.#options = options;
    this.#size = options.size;
  }

  append(write: JournalWrite): Promise<{ readonly index: number }> {
    if (this.#closed) return Promise.reject(new EscrowError('shutting-down'));
    return new Promise((resolve, reject) => {
      const deadline = setTimeout(() => {
        waiting.reject(new EscrowError('log-unavailable', undefined, { cause: this.#cause }));
      }, this.#options.timeouts.appendMs);
      const once = <T>(answer: (value: T) => void): ((value: T) => void) => {
        return (value) => {
          if (waiting.settled) return;
          waiting.settled = true;
          clearTimeout(deadline);
          answer(value);
        };
      };
      const waiting: Waiting = {
        write,
        resolve: once((index: number) => {
          resolve({ index });
        }),
        reject: once(reject),
        settled: false,
      };
      this.#queue.push(waiting);
      this.#leader ??= this.#lead();
    });
  }

  /** Why there is no connection that appends; undefined as long as nothing speaks against one. */
  get fault(): unknown {
    return this.#pauseMs === 0 ? undefined : this.#cause;
  }

  async openActs(): Promise<readonly OpenAct[]> {
    const { pool, lease } = this.#options;
    const rows = await pool.ask<OpenActRow>(
      `select a.id, e.entry, e.about_key, e.about_owner, e.about_recovery, e.about_grant, a.instance,
              coalesce(i.lease_until > now(), false) as lives
       from open_act a join log_entry e on e.id = a.id and e.role = 'opens'
       left join instance i on i.id = a.instance
       order by e.seq`,
    );
    return rows.map((row) => ({
      id: row.id,
      entry: row.entry,
      about: toSubject(row),
      by: row.instance === lease.instance ? 'self' : row.lives && !lease.sole ? 'other' : 'gone',
    }));
  }

  /** Takes no more, and resolves when all that waits is answered. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#leader;
    await this.#appender?.close();
  }

  /**
   * Records what waits, batch by batch. The next is begun behind the commit of the one before, so that the server has work
   * while that one's callers are answered and come back; on the connection each still comes after the other.
   */
  async #lead(): Promise<void> {
    // All that is appended in this turn of the event loop goes into the first batch.
    await setImmediate();
    let batch: Batch | undefined;
    do batch = await (batch === undefined ? this.#begin() : this.#record(batch));
    while (batch !== undefined || this.#queue.length > 0);
    this.#leader = undefined;
  }

  /** Begins a batch of what waits, as soon as there is a connection; undefined when nothing waits any more. */
  async #begin(): Promise<Batch | undefined> {
    while (this.#queue.some(({ settled }) => !settled)) {
      const appender = await this.#connected();
      // Who has given up meanwhile was told that it is not known; better that it is not recorded, then.
      const batch = appender === undefined ? undefined : this.#beginOn(appender);
      if (batch !== undefined) return batch;
    }
    this.#queue.length = 0;
    return undefined;
  }

  /** Begins a batch of what waits now, if anything does. */
  #beginOn(appender: Appender): Batch | undefined {
    const waiting: Waiting[] = [];
    let taken = 0;
    for (let bytes = 0; waiting.length < batchLimit && bytes < batchLimitBytes; taken += 1) {
      const next = this.#queue[taken];
      if (next === undefined) break;
      if (next.settled) continue;
      waiting.push(next);
      bytes += next.write.entry.length;
    }
    this.#queue.splice(0, taken);
    if (waiting.length === 0) return undefined;
    return { appender, waiting, begun: beginBatch(appender.send, writesOf(waiting)) };
  }

  /**
   * Records a batch and answers its writers, or, when certainly nothing was recorded, puts it back in front. Returns the
   * next one, begun.
   */
  async #record(batch: Batch): Promise<Batch | undefined> {
    let next: Batch | undefined;
    try {
      const written = await this.#write(batch);
      next = this.#beginOn(batch.appender);
      await this.#settle(batch, await this.#inTime(batch.appender, written.outcome));
      if (next?.appender.isLost() !== true) return next ?? (await this.#begin());
      this.#queue.unshift(...next.waiting);
    } catch (error) {
      if (next !== undefined) this.#queue.unshift(...next.waiting);
      await this.#recover(batch, error, 1);
    }
    return this.#begin();
  }

  /** Records these in a batch of their own, with nothing begun behind it. */
  async #recordAlone(waiting: readonly Waiting[], attempt: number): Promise<void> {
    const appender = await this.#connected();
    if (appender === undefined) {
      this.#queue.unshift(...waiting);
      return;
    }
    const left = waiting.filter(({ settled }) => !settled);
    if (left.length === 0) return;
    const batch = { appender, waiting: left, begun: beginBatch(appender.send, writesOf(left)) };
    try {
      const written = await this.#write(batch);
      await this.#settle(batch, await this.#inTime(appender, written.outcome));
    } catch (error) {
      await this.#recover(batch, error, attempt);
    }
  }

  #write({ appender, waiting, begun }: Batch): ReturnType<typeof writeBatch> {
    const left = async (): ReturnType<typeof writeBatch> => {
      await begun.ground;
      const unsettled = waiting.filter(({ settled }) => !settled);
      return writeBatch(appender.send, this.#options.lease.instance, begun, writesOf(unsettled));
    };
    return this.#inTime(appender, left());
  }

  async #settle({ waiting }: Batch, outcome: BatchOutcome): Promise<void> {
    if (outcome.outcome === 'recorded') this.#answer(waiting, outcome);
    else await this.#resolveUnknown(waiting, outcome);
  }

  /** Certainly nothing of this batch was recorded: puts it back in front, or tries it again, or its writes apart. */
  async #recover({ appender, waiting }: Batch, error: unknown, attempt: number): Promise<void> {
    const fault = error instanceof DatabaseError || appender.isLost() ? faultOf(error) : 'refused';
    await this.#tidy(appender, error);
    if (fault === 'lost') this.#queue.unshift(...waiting);
    else if (fault === 'contended' && attempt < contentionLimit)
      await this.#recordAlone(waiting, attempt + 1);
    else await this.#recordApart(waiting, error);
  }

  /** One write of these cannot be recorded: the others must not suffer from it. */
  async #recordApart(batch: readonly Waiting[], error: unknown): Promise<void> {
    const [first, ...others] = batch;
    if (others.length === 0) {
      first?.reject(new EscrowError('log-unavailable', undefined, { cause: error }));
      return;
    }
    const half = Math.ceil(batch.length / 2);
    await this.#recordAlone(batch.slice(0, half), 1);
    await this.#recordAlone(batch.slice(half), 1);
  }

  #answer(
    batch: readonly Waiting[],
    { verdict, base }: Extract<BatchOutcome, { outcome: 'recorded' }>,
  ): void {
    const { kept, refused } = verdict;
    const indexes = new Map(kept.map((write, place) => [write, base + place]));
    this.#answerEach(batch, indexes, refused);
  }

  #answerEach(
    batch: readonly Waiting[],
    indexes: ReadonlyMap<JournalWrite, number>,
    refused: ReadonlyMap<JournalWrite, Error>,
  ): void {
    for (const waiting of batch) {
      const index = indexes.get(waiting.write);
      if (index === undefined) waiting.reject(refused.get(waiting.write));
      else waiting.resolve(index);
    }
    if (indexes.size === 0) return;
    this.#size = Math.max(this.#size, ...[...indexes.values()].map((index) => index + 1));
    this.#options.onAppended(this.#size);
  }

  /** The commit was sent and its answer was lost: looks the entries up, for as long as somebody waits. */
  async #resolveUnknown(
    batch: readonly Waiting[],
    { verdict, transaction, cause }: Extract<BatchOutcome, { outcome: 'unknown' }>,
  ): Promise<void> {
    this.#cause = cause;
    while (batch.some(({ settled }) => !settled)) {
      const appender = await this.#connected();
      if (appender === undefined) continue;
      try {
        const fate = await this.#inTime(appender, fateOf(appender.send, transaction, verdict.kept));
        if (fate === 'running') {
          await delay(20);
          continue;
        }
        if (fate.size === 0) this.#queue.unshift(...batch);
        else this.#answerEach(batch, fate, verdict.refused);
        return;
      } catch (error) {
        await this.#tidy(appender, error);
      }
    }
  }

  /** The connection; undefined, after a pause that grows, when there is none to be had. */
  async #connected(): Promise<Appender | undefined> {
    if (this.#appender?.isLost() === false) return this.#appender;
    this.#appender = undefined;
    await delay(this.#pauseMs);
    const { connection, timeouts, log } = this.#options;
    try {
      this.#appender = await connectAppender(connection, timeouts, this.#size);
      if (this.#pauseMs > 0) log.info('the log can be written again');
      this.#pauseMs = 0;
      return this.#appender;
    } catch (error) {
      this.#cause = error;
      if (this.#pauseMs === 0) log.warn(`the log cannot be written: ${reason(error)}`);
      this.#pauseMs = Math.min(longestPauseMs, this.#pauseMs * 2 + 10);
      return undefined;
    }
  }

  /** Waits for what was sent, and cuts the connection when that takes longer than anybody waits for it. */
  async #inTime<T>(appender: Appender, sent: Promise<T>): Promise<T> {
    const timer = setTimeout(() => {
      appender.cut();
    }, this.#options.timeouts.appendMs);
    try {
      return await sent;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Leaves the connection without a transaction, or cuts it. */
  async #tidy(appender: Appender, error: unknown): Promise<void> {
    this.#cause = error;
    if (appender.isLost()) return;
    try {
      if (error instanceof DatabaseError && error.severity !== 'ERROR') throw error;
      await this.#inTime(appender, appender.send(rollback));
    } catch {
      appender.cut();
    }
  }
}

function writesOf(waiting: readonly Waiting[]): readonly JournalWrite[] {
  return waiting.map(({ write }) => write);
}

interface AboutColumns {
  readonly about_key: string | null;
  readonly about_owner: string | null;
  readonly about_recovery: string | null;
  readonly about_grant: string | null;
}

interface OpenActRow extends AboutColumns {
  readonly id: ActId;
  readonly entry: Uint8Array;
  readonly instance: string;
  readonly lives: boolean;
}

function toSubject(row: AboutColumns): Subject {
  return {
    ...(row.about_key === null ? {} : { key: row.about_key }),
    ...(row.about_owner === null ? {} : { owner: row.about_owner }),
    ...(row.about_recovery === null ? {} : { recovery: row.about_recovery }),
    ...(row.about_grant === null ? {} : { grant: row.about_grant }),
  };
}

function reason(error: unknown): string {
  if (error instanceof LogDamaged || error instanceof UnsafeDatabase) return error.message;
  return error instanceof Error ? error.message : String(error);
}
