import { setImmediate, setTimeout as delay } from 'node:timers/promises';
import { DatabaseError } from 'pg';
import { EscrowError } from '../../escrow/records/errors.js';
import type { Journal, JournalWrite, OpenAct } from '../../escrow/ports/journal.js';
import type { Appender } from './appender.js';
import { AppenderKeeper } from './appenderKeeper.js';
import { beginBatch, rollback, writeBatch, type BatchOutcome } from './judgedBatch.js';
import type { Clocks } from '../clocks.js';
import type { Connection } from '../connection.js';
import type { Damage } from '../damage.js';
import { fateOf } from './commitFate.js';
import { faultOf } from '../faults.js';
import type { FollowedLog } from '../log/followed.js';
import type { InstanceLease } from './instances.js';
import { readOpenActs } from './openActs.js';
import { isPlain, recordPlain } from './plainBatch.js';
import type { Pool } from '../pool.js';
import type { Servers } from '../servers.js';
import { Waiters, type Waiting } from './waiters.js';
import type { Writer } from '../log/writer.js';

export interface JournalOptions {
  readonly connection: Connection | Servers;
  readonly pool: Pool;
  readonly lease: InstanceLease;
  readonly writer: Writer;
  /** Told of every batch where it stands, before those who wait for it. */
  readonly followed: Pick<FollowedLog, 'own'>;
  readonly damage: Damage;
  /** Without them time is not asked for. */
  readonly clocks?: Clocks;
  /** Resolves when a checkpoint over so many entries was found to be over those that were appended here. */
  readonly proven: (size: number) => Promise<void>;
  readonly timeouts: { readonly connectMs: number; readonly appendMs: number };
  readonly log: { warn(message: string): void; info(message: string): void };
  readonly onUnsafe?: (reason: string | undefined) => void;
  /** The log's size, as far as this daemon knows it. */
  readonly size: number;
  /** Told after entries were appended. */
  readonly onAppended: (size: number) => void;
}

/** Writes that were sent to be recorded together, or not at all, and what came of that. */
interface Flight {
  readonly appender: Appender;
  readonly waiting: readonly Waiting[];
  /** Whether it was recorded, if at all, without a judge. */
  readonly isPlain: boolean;
  /** Never rejects. Those whose batch is recorded are answered before it resolves. */
  readonly landing: Promise<BatchOutcome | { readonly outcome: 'failed'; readonly error: unknown }>;
}

const batchLimit = 1000;
const batchLimitBytes = 4 * 1024 * 1024;
/** Fewer than these are not divided into two batches, nor sent behind one that is on its way: each batch has its price. */
const worthwhile = 16;
/** How often a batch is tried as it is when other transactions are in its way; then its writes are tried apart. */
const contentionLimit = 5;

/**
 * Groups what is appended: while a batch is being recorded, all that comes waits and is the next one. There is one
 * transaction at a time, on one connection; when enough has come, the next batch is sent behind it, so that the server has work
 * while this side answers the callers of the one before.
 */
export class PostgresJournal implements Journal {
  readonly #options: JournalOptions;
  readonly #keeper: AppenderKeeper;
  readonly #waiters: Waiters;
  #queue: Waiting[] = [];
  #leader: Promise<void> | undefined;
  #size: number;
  /** Whether the last batch stood right behind what this daemon knew of. */
  #isAlone = true;
  #closed = false;

  constructor(options: JournalOptions) {
    this.#options = options;
    this.#size = options.size;
    this.#keeper = new AppenderKeeper(options);
    this.#waiters = new Waiters(options.timeouts.appendMs, () => this.#keeper.cause);
  }

  append(write: JournalWrite): Promise<{ readonly index: number }> {
    if (this.#closed) return Promise.reject(new EscrowError('shutting-down'));
    const { error: cause } = this.#options.damage;
    if (cause !== undefined) return Promise.reject(new EscrowError('log-unavailable', undefined, { cause }));
    return this.#waiters.add(write, (waiting) => {
      this.#queue.push(waiting);
      this.#leader ??= this.#lead();
    });
  }

  /** Why nothing can be appended; undefined as long as nothing speaks against it. */
  get fault(): unknown {
    return this.#options.damage.error ?? this.#keeper.fault;
  }

  proven(index: number): Promise<void> {
    return this.#options.proven(index + 1);
  }

  openActs(): Promise<readonly OpenAct[]> {
    return readOpenActs(this.#options.pool, this.#options.lease, this.#options.clocks);
  }

  /** Takes no more, and resolves when all that waits is answered. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#leader;
    await this.#keeper.close();
  }

  /** Records what waits, batch by batch, at most two of them on their way. */
  async #lead(): Promise<void> {
    let ahead: Flight | undefined;
    for (;;) {
      // All that comes in this turn of the event loop, some of it from those who were just answered, goes into the batch.
      await setImmediate();
      let next: Flight | undefined;
      this.#dropSettled();
      if (this.#queue.length >= (ahead === undefined ? 1 : worthwhile)) {
        const appender = await this.#keeper.connected(this.#size);
        if (appender === undefined) continue;
        // What is sent on another connection could overtake what was sent on the one that was lost.
        if (ahead !== undefined && ahead.appender !== appender) {
          await this.#land(ahead);
          ahead = undefined;
        }
        this.#dropSettled();
        const batch = this.#take(ahead?.waiting.length ?? 0);
        if (batch.length > 0) next = await this.#launch(appender, batch);
      } else if (ahead === undefined) break;
      if (ahead !== undefined) await this.#land(ahead);
      ahead = next;
    }
    this.#leader = undefined;
  }

  /**
   * Takes a batch out of the queue: those that are plain as the first of them is, or those that are not. At most half of all
   * that is on its way or waits, so that the server always has a batch to go on with while the callers of another are
   * answered; where other daemons append as well, it goes on with theirs.
   */
  #take(ahead: number): readonly Waiting[] {
    const first = this.#isPlain(this.#queue[0]);
    const half = Math.max(worthwhile, Math.ceil((ahead + this.#queue.length) / 2));
    const limit = Math.min(batchLimit, this.#isAlone ? half : batchLimit);
    const taken: Waiting[] = [];
    const left: Waiting[] = [];
    let bytes = 0;
    for (const waiting of this.#queue) {
      if (taken.length < limit && bytes < batchLimitBytes && this.#isPlain(waiting) === first) {
        taken.push(waiting);
        bytes += waiting.write.entry.length;
      } else left.push(waiting);
    }
    this.#queue = left;
    return taken;
  }

  /**
   * Who has given up meanwhile was told that it is not known; better that it is not recorded, then. In a log that is damaged
   * nothing is recorded any more.
   */
  #dropSettled(): void {
    const { error: cause } = this.#options.damage;
    if (cause !== undefined) {
      for (const waiting of this.#queue)
        this.#waiters.reject(waiting, new EscrowError('log-unavailable', undefined, { cause }));
    }
    if (this.#queue.some(({ settled }) => settled))
      this.#queue = this.#queue.filter(({ settled }) => !settled);
  }

  #isPlain(waiting: Waiting | undefined): boolean {
    return waiting !== undefined && isPlain(waiting.write);
  }

  /** Sends all that records these: of what was sent, nothing waits for this side any more when it resolves. */
  async #launch(appender: Appender, taken: readonly Waiting[]): Promise<Flight> {
    if (!this.#isPlain(taken[0])) return this.#launchJudged(appender, taken);
    const recording = recordPlain(appender.send, this.#options.writer, writesOf(taken), this.#options.clocks);
    return this.#flight({ appender, waiting: taken, isPlain: true }, recording);
  }

  async #launchJudged(appender: Appender, taken: readonly Waiting[]): Promise<Flight> {
    const begun = beginBatch(appender.send, writesOf(taken), this.#options.clocks);
    try {
      await this.#inTime(appender, begun.locked);
      const waiting = taken.filter(({ settled }) => !settled);
      const { outcome } = await writeBatch(appender.send, this.#options.writer, begun, writesOf(waiting));
      return this.#flight({ appender, waiting, isPlain: false }, outcome);
    } catch (error) {
      await this.#rollBack(appender, error);
      const landing = Promise.resolve({ outcome: 'failed', error } as const);
      return { appender, waiting: taken, isPlain: false, landing };
    }
  }

  #flight(of: Pick<Flight, 'appender' | 'waiting' | 'isPlain'>, recording: Promise<BatchOutcome>): Flight {
    const landing = this.#inTime(of.appender, recording).then(
      (outcome) => {
        if (outcome.outcome === 'recorded') this.#answer(of.waiting, outcome);
        return outcome;
      },
      (error: unknown) => ({ outcome: 'failed', error }) as const,
    );
    return { ...of, landing };
  }

  /** Sees to it that all of a batch are answered, or have given up, or are back in the queue. */
  async #land(flight: Flight, attempt = 1): Promise<void> {
    const landing = await flight.landing;
    if (landing.outcome === 'unknown') await this.#resolveUnknown(flight, landing);
    else if (landing.outcome === 'failed') await this.#recover(flight, landing.error, attempt);
  }

  /** Certainly nothing of this batch was recorded: puts it back in front, or has it judged, or tries its writes apart. */
  async #recover({ appender, waiting, isPlain }: Flight, error: unknown, attempt: number): Promise<void> {
    const fault = error instanceof DatabaseError || appender.isLost() ? faultOf(error) : 'refused';
    if (fault === 'lost') {
      this.#keeper.failed(error);
      // another server may be the one that can be written to by now
      if (isReadOnly(error)) appender.cut();
      this.#queue.unshift(...waiting);
    } else if (isPlain) await this.#recordAlone(appender, waiting, 1);
    else if (fault === 'contended' && attempt < contentionLimit)
      await this.#recordAlone(appender, waiting, attempt + 1);
    else await this.#recordApart(appender, waiting, error);
  }

  /** Has these judged and recorded in a batch of their own, on this connection: others were sent on it meanwhile. */
  async #recordAlone(appender: Appender, waiting: readonly Waiting[], attempt: number): Promise<void> {
    if (appender.isLost()) {
      this.#queue.unshift(...waiting);
      return;
    }
    const left = waiting.filter(({ settled }) => !settled);
    if (left.length > 0) await this.#land(await this.#launchJudged(appender, left), attempt);
  }

  /** One write of these cannot be recorded: the others must not suffer from it. */
  async #recordApart(appender: Appender, batch: readonly Waiting[], error: unknown): Promise<void> {
    const [first, ...others] = batch;
    if (others.length === 0) {
      if (first !== undefined)
        this.#waiters.reject(first, new EscrowError('log-unavailable', undefined, { cause: error }));
      return;
    }
    const half = Math.ceil(batch.length / 2);
    await this.#recordAlone(appender, batch.slice(0, half), 1);
    await this.#recordAlone(appender, batch.slice(half), 1);
  }

  /** The kept ones have the indexes from that of the first on, in their order. */
  #answer(
    batch: readonly Waiting[],
    { verdict: { refused }, stands }: Omit<Extract<BatchOutcome, { outcome: 'recorded' }>, 'outcome'>,
  ): void {
    const { followed, damage } = this.#options;
    if (stands !== undefined) followed.own(stands.signed, stands.base);
    const { error: cause } = damage;
    let index = stands?.base ?? 0;
    for (const waiting of batch) {
      const why = refused.get(waiting.write);
      if (why !== undefined) this.#waiters.reject(waiting, why);
      else if (cause === undefined) this.#waiters.resolve(waiting, index++);
      else this.#waiters.reject(waiting, new EscrowError('log-unavailable', undefined, { cause }));
    }
    if (stands === undefined) return;
    this.#keeper.recorded();
    this.#isAlone = stands.base === this.#size;
    this.#grown(index);
  }

  #grown(size: number): void {
    this.#size = Math.max(this.#size, size);
    this.#options.onAppended(this.#size);
  }

  /**
   * The commit was sent and its answer was lost: finds out what became of the batch. Until then nothing else is sent, so that
   * it cannot come to stand behind what was written after it; after closing only as long as somebody waits.
   */
  async #resolveUnknown(
    { appender: lost, waiting: batch }: Flight,
    { verdict, signed, cause }: Extract<BatchOutcome, { outcome: 'unknown' }>,
  ): Promise<void> {
    // Whatever it was that failed: nothing more is to be heard from there.
    lost.cut();
    this.#keeper.failed(cause);
    while (!this.#closed || batch.some(({ settled }) => !settled)) {
      const appender = await this.#keeper.connected(this.#size);
      if (appender === undefined) continue;
      try {
        const found = await this.#inTime(appender, fateOf(appender.send, lost.backend, signed));
        if (found.fate === 'committed') {
          this.#options.writer.stands(signed);
          this.#answer(batch, { verdict, stands: { signed, base: found.base } });
          return;
        }
        // Also before it is tried again: what failed once, such as a full disk, may fail again.
        await delay(20);
        if (found.fate === 'rolled back') {
          this.#options.writer.isVoid(signed);
          this.#queue.unshift(...batch);
          return;
        }
      } catch (error) {
        this.#keeper.cause = error;
        appender.cut();
      }
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
  async #rollBack(appender: Appender, error: unknown): Promise<void> {
    this.#keeper.cause = error;
    if (appender.isLost()) return;
    try {
      if (error instanceof DatabaseError && (error.severity !== 'ERROR' || isReadOnly(error))) throw error;
      await this.#inTime(appender, appender.send(rollback));
    } catch {
      appender.cut();
    }
  }
}

/** The server that answers has become a standby, or was made read-only. */
function isReadOnly(error: unknown): boolean {
  return error instanceof DatabaseError && error.code === '25006';
}

function writesOf(waiting: readonly Waiting[]): readonly JournalWrite[] {
  return waiting.map(({ write }) => write);
}
