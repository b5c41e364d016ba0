import { deserialize } from 'node:v8';
import { EscrowError } from '../../escrow/records/errors.js';
import type { TreeHead } from '../../log/anchor.js';
import { leafHash, sameBytes } from '../../log/tree/merkle.js';
import { frontierOf } from '../../log/tree/prover.js';
import type { Damage } from '../damage.js';
import { LogDamaged } from '../faults.js';
import { hashesOf } from './treeHashes.js';
import type { Ask, Pool } from '../pool.js';
import type { TrustedCheckpoint } from './checkpoints.js';
import type { Follow, StateSnapshot } from './followedState.js';
import type { SignedBatch } from './writer.js';
import type { WrittenEntries } from './writtenEntries.js';

/** How far the log has been followed. */
export interface Followed {
  /**
   * Resolves when the entry at this index, and all before it, were taken; reads them when another daemon wrote them. Throws
   * EscrowError `log-unavailable` when that takes too long or the log is damaged.
   */
  through(index: number): Promise<void>;
  /** The same for all that stand in the log when it is called, whoever wrote them; costs a query. */
  caughtUp(): Promise<void>;
}

export interface FollowedLogOptions {
  readonly pool: Pool;
  readonly damage: Damage;
  readonly written: Pick<WrittenEntries, 'read' | 'note'>;
  /** This process's writer id. */
  readonly self: string;
  /** For {@link Followed.through} and {@link Followed.caughtUp}. */
  readonly timeoutMs: number;
  readonly follow: Follow | undefined;
  /** What may be gone on from, in place of the first entries. */
  readonly snapshot?: StateSnapshot | undefined;
  /** What the start has found to be signed. */
  readonly trusted: TrustedCheckpoint;
  /** What is remembered of the log outside the database: entries that are read up to there must lead to it. */
  readonly anchor?: TreeHead;
}

/** Own entries that stand behind others which were not read yet. */
interface Ahead {
  readonly batch: SignedBatch;
  readonly first: number;
}

interface Waiter {
  readonly index: number;
  readonly settle: (error?: EscrowError) => void;
}

/** What others wrote before an own batch is read so soon when nobody waits for it, as many batches as there are by then. */
const gapMs = 5;
/** Another try after the database did not answer. */
const retryMs = 100;

/**
 * Follows the log entry by entry: what this daemon appended from memory, where it was told that it stands; what others
 * appended by reading it, once its writers' signatures are checked. So it knows the leaves of the tree without believing the
 * database. An index that was given away before, or an entry that nobody wrote, is damage.
 */
export class FollowedLog implements Followed {
  readonly #options: FollowedLogOptions;
  #next: number;
  /** Leaf hashes from `#covered` on. */
  #leaves: Uint8Array[] = [];
  #covered: number;
  readonly #ahead: Ahead[] = [];
  /** Own batches that were read before it was known here where they stand: their first index by their number. */
  readonly #ownRead = new Map<number, number>();
  #waiters: Waiter[] = [];
  #reading: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  private constructor(options: FollowedLogOptions) {
    this.#options = options;
    this.#next = options.trusted.size;
    this.#covered = options.trusted.size;
  }

  /**
   * Begins to follow: hands over what a checkpoint covers, checked against it, and then what stands behind it. Throws
   * LogDamaged, EscrowError `store-unavailable`.
   */
  static async start(options: FollowedLogOptions): Promise<FollowedLog> {
    const { pool, follow, snapshot } = options;
    if (follow !== undefined) {
      if (snapshot !== undefined) follow.state?.restore(deserialize(snapshot.state));
      await takeCovered(pool.ask, follow, options, snapshot ?? { size: follow.from ?? 0 });
    }
    const followed = new FollowedLog(options);
    for (let more = true; more;) more = await followed.#readOn();
    return followed;
  }

  /** All entries before this index have been taken. */
  get next(): number {
    return this.#next;
  }

  /** Says that this daemon's batch stands in the log from `first` on. */
  own(batch: SignedBatch, first: number): void {
    if (this.#options.damage.error !== undefined) return;
    this.#ahead.push({ batch, first });
    if (this.#reading !== undefined) return;
    this.#guarded(() => {
      this.#takeAhead();
    });
    if (this.#ahead.length > 0) this.#readWithin(gapMs);
  }

  through(index: number): Promise<void> {
    const { damage, timeoutMs } = this.#options;
    if (damage.error !== undefined) return Promise.reject(unavailable(damage.error));
    if (index < this.#next) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const waiter: Waiter = {
        index,
        settle: (error) => {
          clearTimeout(timer);
          if (error === undefined) resolve();
          else reject(error);
        },
      };
      const timer = setTimeout(() => {
        this.#waiters = this.#waiters.filter((each) => each !== waiter);
        waiter.settle(unavailable(damage.error));
      }, timeoutMs);
      this.#waiters.push(waiter);
      this.#readSoon();
    });
  }

  async caughtUp(): Promise<void> {
    const [head] = await this.#options.pool.ask<{ size: string }>('select size from log_head where id = 1');
    await this.through(Number(head?.size ?? 0) - 1);
  }

  /** The leaf hashes of the entries from `from` to below `to`, which no checkpoint is known to cover yet. */
  leaves(from: number, to: number): readonly Uint8Array[] {
    return this.#leaves.slice(from - this.#covered, to - this.#covered);
  }

  /** Says that a checkpoint covers so many entries as they were taken here: their hashes are not needed any more. */
  cover(size: number): void {
    this.#leaves = this.#leaves.slice(size - this.#covered);
    this.#covered = size;
  }

  /** Reads no more. Who waits is told that it is not to be had. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    await this.#reading;
    for (const { settle } of this.#waiters.splice(0)) settle(new EscrowError('shutting-down'));
  }

  #readSoon(): void {
    if (this.#closed) return;
    this.#reading ??= this.#readWanted().finally(() => {
      this.#reading = undefined;
      if (this.#isBehind() && this.#options.damage.error === undefined) this.#readWithin(retryMs);
    });
  }

  #readWithin(ms: number): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#readSoon();
    }, ms).unref();
  }

  #isBehind(): boolean {
    return this.#ahead.length > 0 || this.#waiters.length > 0;
  }

  async #readWanted(): Promise<void> {
    try {
      for (let more = true; more && this.#isBehind();) more = await this.#readOn();
    } catch (error) {
      if (error instanceof LogDamaged) this.#damaged(error);
      // Else the database does not answer: it is tried again as long as somebody waits, and each has a deadline.
    }
  }

  /** Reads and takes a page of what stands next; false when there is nothing, or nothing to be read. */
  async #readOn(): Promise<boolean> {
    const { pool, written, self } = this.#options;
    // An own batch may have been answered since the last page: what stands before it is read, and it is not.
    this.#takeAhead();
    const [ahead] = this.#ahead;
    const { entries, batches } = await written.read(pool.ask, this.#next, ahead?.first);
    if (entries.length === 0 && ahead !== undefined) {
      throw new LogDamaged(`the entry ${this.#next} is gone from the log`);
    }
    for (const { writer, counter, first } of batches) if (writer === self) this.#ownRead.set(counter, first);
    for (const { entry, leaf } of entries) this.#take(entry, leaf);
    this.#takeAhead();
    this.#answer();
    return entries.length > 0 || this.#ahead.length > 0;
  }

  /** Takes own batches that stand next. */
  #takeAhead(): void {
    const { written } = this.#options;
    for (let [ahead] = this.#ahead; ahead !== undefined; [ahead] = this.#ahead) {
      const { batch, first } = ahead;
      if (first > this.#next) break;
      this.#ahead.shift();
      if (first < this.#next) {
        const read = this.#ownRead.get(batch.counter);
        this.#ownRead.delete(batch.counter);
        if (read === first) continue;
        throw new LogDamaged(
          `the database gave the index ${first} to new entries; it had given it away before`,
        );
      }
      written.note(batch, first);
      batch.entries.forEach((entry, position) => {
        this.#take(entry, batch.leaves[position] ?? leafHash(entry));
      });
    }
    this.#answer();
  }

  #take(entry: Uint8Array, leaf: Uint8Array): void {
    const index = this.#next;
    this.#next += 1;
    this.#leaves.push(leaf);
    try {
      this.#options.follow?.take(index, entry);
    } catch (cause) {
      throw contradiction(index, cause);
    }
  }

  #answer(): void {
    if (this.#waiters.length === 0) return;
    const next = this.#next;
    const answered = this.#waiters.filter(({ index }) => index < next);
    this.#waiters = this.#waiters.filter(({ index }) => index >= next);
    for (const { settle } of answered) settle();
  }

  #guarded(work: () => void): void {
    try {
      work();
    } catch (error) {
      if (!(error instanceof LogDamaged)) throw error;
      this.#damaged(error);
    }
  }

  #damaged(error: LogDamaged): void {
    this.#options.damage.found(error);
    for (const { settle } of this.#waiters.splice(0)) settle(unavailable(error));
  }
}

/**
 * Hands over the entries that the checkpoint covers. Throws LogDamaged when they are not those that it signs, or did not pass
 * through the anchor's tree.
 */
async function takeCovered(
  ask: Ask,
  follow: Follow,
  { trusted, anchor }: Pick<FollowedLogOptions, 'trusted' | 'anchor'>,
  { size: from, root }: Pick<StateSnapshot, 'size'> & Partial<Pick<StateSnapshot, 'root'>>,
): Promise<void> {
  if (from > trusted.size) {
    throw new LogDamaged(`the newest checkpoint is over ${trusted.size} entries, and ${from} are remembered`);
  }
  const frontier = await frontierOf(hashesOf(ask, trusted.size), from);
  // by the very hashes that must lead to the signed root: what was read before may have been of other rows
  if (root !== undefined && !sameBytes(frontier.root(), root)) {
    throw new LogDamaged(`the first ${from} entries are not those whose state was signed`);
  }
  const requireAnchor = (): void => {
    if (anchor?.size !== frontier.size || sameBytes(frontier.root(), anchor.root)) return;
    throw new LogDamaged(`the first ${anchor.size} entries are not those that the token remembers`);
  };
  requireAnchor();
  while (frontier.size < trusted.size) {
    const rows = await ask<{ entry: Uint8Array }>(
      'select entry from log_entry where seq >= ? and seq < ? order by seq limit ?',
      [frontier.size, trusted.size, pageLength],
    );
    if (rows.length === 0) throw new LogDamaged(`the entry ${frontier.size} is gone from the log`);
    for (const { entry } of rows) {
      const index = frontier.size;
      frontier.append(leafHash(entry));
      requireAnchor();
      try {
        follow.take(index, entry);
      } catch (cause) {
        throw contradiction(index, cause);
      }
    }
  }
  if (!sameBytes(frontier.root(), trusted.root)) {
    throw new LogDamaged(`the entries ${from} to ${trusted.size - 1} are not those that were signed`);
  }
}

/** Entries read at a time. */
const pageLength = 5_000;

function contradiction(index: number, cause: unknown): LogDamaged {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new LogDamaged(`the entry ${index} cannot stand where it does: ${why}`, { cause });
}

function unavailable(cause: unknown): EscrowError {
  return new EscrowError('log-unavailable', undefined, { cause });
}
