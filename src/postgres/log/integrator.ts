import { setTimeout as delay } from 'node:timers/promises';
import { EscrowError } from '../../escrow/records/errors.js';
import type { CheckpointSigner } from '../../escrow/ports/signers.js';
import { formatCheckpoint, openCheckpoint, type Checkpoint } from '../../log/note/checkpoint.js';
import { Frontier, sameBytes } from '../../log/tree/merkle.js';
import { formatNote, noteSigningBytes } from '../../log/note/note.js';
import { noteVerifier, type NoteVerifier } from '../../log/note/noteKey.js';
import { growTree } from '../../log/tree/tiles.js';
import type { Damage } from '../damage.js';
import { LogDamaged, safeInteger } from '../faults.js';
import type { FollowedLog } from './followed.js';
import type { Ask, Pool } from '../pool.js';
import { indexSubjects } from './subjectIndex.js';
import { newestCheckpoint, openStored, type TrustedCheckpoint } from './checkpoints.js';
import type { StoredCheckpoint } from './checkpoints.js';
import { readLeaves } from './leaves.js';

export interface IntegratorOptions {
  readonly pool: Pool;
  readonly signer: CheckpointSigner;
  readonly log: { warn(message: string): void };
  /** What the start has found to be signed, and the frontier of that tree. */
  readonly trusted: TrustedCheckpoint;
  readonly frontier: Frontier;
  /** Where the leaves of the tree come from. It began to follow behind what is signed. */
  readonly followed: Pick<FollowedLog, 'caughtUp' | 'through' | 'next' | 'leaves' | 'cover'>;
  readonly damage: Damage;
  /** How often, at most, appends alone make a checkpoint. A reader who waits for one does not wait for this. */
  readonly checkpointIntervalMs: number;
}

/** Entries read at a time. */
const pageLength = 10_000;
/** Rests between tries: while another daemon integrates, and after a failure. */
const restMs = 5;
const retryMs = 1000;

/**
 * Makes the tree and its checkpoints of the entries that the journal has put in order. Of several daemons one at a time
 * does so, and each goes on from what the others have stored, once it has found that tree to be the one that it makes of
 * the entries itself. No leaf is taken from the database: see {@link FollowedLog}.
 */
export class Integrator {
  readonly #options: IntegratorOptions;
  readonly #verifier: NoteVerifier;
  #trusted: TrustedCheckpoint;
  #frontier: Frontier;
  #running: Promise<boolean> | undefined;
  #turning: Promise<void> | undefined;
  /** Whether there may be entries that no turn has begun to look at. */
  #isBehind = false;
  #indexFault: string | undefined;
  #timer: NodeJS.Timeout | undefined;
  #lastRunAt = -Infinity;
  #fault: Error | undefined;
  #closed = false;

  constructor(options: IntegratorOptions) {
    this.#options = options;
    this.#verifier = noteVerifier(options.signer.vkey);
    this.#trusted = options.trusted;
    this.#frontier = options.frontier;
  }

  /** Why the last run failed; undefined when it did not. */
  get fault(): Error | undefined {
    return this.#fault;
  }

  /** Says that there are new entries: a checkpoint will cover them soon. */
  appended(): void {
    this.#isBehind = true;
    if (this.#timer !== undefined || this.#closed) return;
    const { checkpointIntervalMs } = this.#options;
    const passedMs = performance.now() - this.#lastRunAt;
    const againInMs =
      this.#fault === undefined ? checkpointIntervalMs : Math.max(checkpointIntervalMs, retryMs);
    this.#timer = setTimeout(
      () => {
        this.#timer = undefined;
        // What goes on already may have begun before the newest entries were there: it is this one's turn after that.
        this.#turning = Promise.allSettled([this.#turning, this.#running]).then(() => this.#turn());
      },
      Math.max(0, againInMs - passedMs),
    );
  }

  /**
   * The newest checkpoint, once it covers `size` entries; makes it at once when nobody else does. Throws EscrowError
   * `log-unavailable` when that takes longer than `timeoutMs`.
   */
  covering(size: number, timeoutMs: number): Promise<StoredCheckpoint> {
    return this.#runUntil(timeoutMs, async () => {
      const newest = await newestCheckpoint(this.#options.pool.ask);
      return newest !== undefined && newest.size >= size ? newest : undefined;
    });
  }

  /**
   * Resolves when a checkpoint covers `size` entries and this daemon has found it to be over its own entries, where it was
   * told that they stand, and over those that others signed; resolves with it. `size`: at least 1. Throws as {@link covering}
   * does.
   */
  proven(size: number, timeoutMs: number): Promise<Checkpoint & StoredCheckpoint> {
    return this.#runUntil(timeoutMs, () => {
      const { note, ...trusted } = this.#trusted;
      return Promise.resolve(trusted.size >= size && note !== undefined ? { ...trusted, note } : undefined);
    });
  }

  /** The root of the tree of the first `size` entries as they were followed: at least those that are known to be signed. */
  rootAt(size: number): Uint8Array {
    return growTree(this.#frontier, this.#options.followed.leaves(this.#trusted.size, size)).frontier.root();
  }

  /** Opens a stored checkpoint. Throws LogDamaged when it is not one that this log's key has signed. */
  open(stored: StoredCheckpoint): Checkpoint {
    return openStored(stored, this.#verifier, this.#options.signer.origin);
  }

  async #runUntil<T>(timeoutMs: number, look: () => Promise<T | undefined>): Promise<T> {
    const deadline = performance.now() + timeoutMs;
    for (let run = false; ; run = true) {
      const found = await look();
      if (found !== undefined) return found;
      if (performance.now() >= deadline || this.#closed) {
        throw new EscrowError('log-unavailable', undefined, { cause: this.#fault });
      }
      if (run) await delay(restMs);
      await this.#run().catch(() => undefined);
    }
  }

  /** Brings the checkpoint up to date a last time, if it can, and stops. */
  async close(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#closed = true;
    await Promise.allSettled([this.#turning, this.#running]);
    if (this.#isBehind) await this.#turn();
  }

  /** Brings the checkpoint up to date, and then the index of subjects, which no checkpoint waits for; or has it tried again. */
  async #turn(): Promise<void> {
    this.#isBehind = false;
    try {
      const isCovered = await this.#run();
      const isIndexed = await this.#index();
      if (isCovered && isIndexed) return;
    } catch {
      // It was said; see #integrate.
    }
    this.appended();
  }

  /** One run at a time; who asks during one gets its result. True when the checkpoint covers what was there. */
  #run(): Promise<boolean> {
    this.#running ??= this.#integrate().finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  async #integrate(): Promise<boolean> {
    const { pool, followed, damage, log } = this.#options;
    this.#lastRunAt = performance.now();
    try {
      damage.requireNone();
      await followed.caughtUp();
      await this.#followCheckpoint();
      const extended = await pool.transaction((ask) => this.#extend(ask));
      if (extended !== undefined) this.#goOnFrom(extended.checkpoint, extended.frontier);
      this.#fault = undefined;
      return extended !== undefined;
    } catch (error) {
      const fault = damage.error ?? (error instanceof Error ? error : new Error(String(error)));
      if (fault instanceof LogDamaged) damage.found(fault);
      if (this.#fault?.message !== fault.message) {
        log.warn(`the log's checkpoint cannot be brought up to date: ${fault.message}`);
      }
      this.#fault = fault;
      throw fault;
    }
  }

  /** The tree with this frontier is signed: its leaves are needed no more. */
  #goOnFrom(checkpoint: TrustedCheckpoint, frontier: Frontier): void {
    this.#trusted = checkpoint;
    this.#frontier = frontier;
    this.#options.followed.cover(checkpoint.size);
  }

  /** True when all is indexed. What is not is found as well, only slower, so that a failure is no fault of the log. */
  async #index(): Promise<boolean> {
    try {
      const complete = await indexSubjects(this.#options.pool);
      this.#indexFault = undefined;
      return complete;
    } catch (error) {
      const fault = error instanceof Error ? error.message : String(error);
      if (this.#indexFault !== fault)
        this.#options.log.warn(`the log's index of subjects cannot be brought up to date: ${fault}`);
      this.#indexFault = fault;
      return false;
    }
  }

  /**
   * Goes on from the newest checkpoint that is stored, another daemon's perhaps. Its tree must be what this daemon makes of
   * the entries that it wrote or has checked itself, up to there; else it is LogDamaged, as it is when what this daemon
   * knows to be signed is gone.
   */
  async #followCheckpoint(): Promise<void> {
    const { pool, followed, signer } = this.#options;
    const { size, note } = this.#trusted;
    const stored = await newestCheckpoint(pool.ask);
    if ((stored?.size ?? 0) < size) {
      throw new LogDamaged(`the checkpoint over ${size} entries is gone from the database`);
    }
    if (stored === undefined || stored.note === note) return;
    const newest = openStored(stored, this.#verifier, signer.origin);
    if (newest.size > 0) await followed.through(newest.size - 1);
    const { frontier } = growTree(this.#frontier, followed.leaves(size, newest.size));
    if (newest.size === size && !sameBytes(newest.root, frontier.root())) {
      throw new LogDamaged(`there are two checkpoints over ${newest.size} entries, with different roots`);
    }
    requireSame(frontier, newest);
    this.#goOnFrom({ ...newest, note: stored.note }, frontier);
  }

  /**
   * Puts in the tree what was followed and is not there yet, stores the tree and the checkpoint that have it, and returns
   * that. Undefined when another daemon is at it, or was meanwhile.
   */
  async #extend(
    ask: Ask,
  ): Promise<{ readonly checkpoint: TrustedCheckpoint; readonly frontier: Frontier } | undefined> {
    const trusted = this.#trusted;
    const [state] = await ask<{ size: string; frontier: Uint8Array }>(
      'select size, frontier from log_frontier where id = 1 for update skip locked',
    );
    if (state === undefined) return undefined;
    // What is about to be extended must be what was signed last, or this daemon would sign a fork.
    const stored = await newestCheckpoint(ask);
    if ((stored?.size ?? 0) > trusted.size) return undefined;
    requireSame(readFrontier(state), trusted);

    const { followed } = this.#options;
    const to = followed.next;
    if (to === trusted.size) return { checkpoint: trusted, frontier: this.#frontier };
    const leaves = followed.leaves(trusted.size, to);
    await requireStored(ask, leaves, trusted.size);
    const { frontier, completed } = growTree(this.#frontier, leaves);

    const { note, ...checkpoint } = await this.#sign(frontier);
    await ask(
      `insert into log_tile (level, index, hash)
       select * from unnest(?::smallint[], ?::bigint[], ?::bytea[])`,
      [
        completed.map(({ level }) => level),
        completed.map(({ index }) => index),
        completed.map(({ hash }) => Buffer.from(hash)),
      ],
    );
    await ask('insert into log_checkpoint (size, note) values (?, ?)', [checkpoint.size, note]);
    await ask('update log_frontier set size = ?, frontier = ? where id = 1', [
      frontier.size,
      Buffer.from(frontier.toBytes()),
    ]);
    return { checkpoint: { ...checkpoint, note }, frontier };
  }

  async #sign(frontier: Frontier): Promise<Checkpoint & StoredCheckpoint> {
    const { signer } = this.#options;
    const checkpoint = { origin: signer.origin, size: frontier.size, root: frontier.root() };
    const text = formatCheckpoint(checkpoint);
    const signature = await signer.sign(noteSigningBytes(text));
    const note = formatNote(text, [{ name: this.#verifier.name, keyId: this.#verifier.keyId, signature }]);
    // A signature that does not verify would be there for good.
    openCheckpoint(note, this.#verifier, signer.origin);
    return { ...checkpoint, note };
  }
}

/**
 * Throws LogDamaged unless the database has the entries of these leaves from `first` on, as far as it says what it has: it
 * hashes them itself, so that they need not be sent here. The tree is right in either case; this is for its readers.
 */
async function requireStored(ask: Ask, leaves: readonly Uint8Array[], first: number): Promise<void> {
  for (let done = 0; done < leaves.length; done += pageLength) {
    const expected = leaves.slice(done, done + pageLength);
    const stored = await readLeaves(ask, first + done, expected.length);
    expected.forEach((leaf, position) => {
      const found = stored[position];
      if (found === undefined)
        throw new LogDamaged(`the entry ${first + done + position} is gone from the log`);
      if (!sameBytes(found, leaf)) {
        throw new LogDamaged(`the entry ${first + done + position} is not what was written there`);
      }
    });
  }
}

/** Reads the stored frontier. Throws LogDamaged when it is none. */
export function readFrontier(state: { readonly size: string; readonly frontier: Uint8Array }): Frontier {
  try {
    const frontier = Frontier.fromBytes(state.frontier);
    if (frontier.size === safeInteger(state.size)) return frontier;
  } catch (cause) {
    throw new LogDamaged('the stored frontier of the tree cannot be read', { cause });
  }
  throw new LogDamaged('the stored frontier of the tree has another size than is written beside it');
}

/** Throws LogDamaged unless the tree with this frontier is the one that was signed. */
export function requireSame(frontier: Frontier, signed: Checkpoint): void {
  if (frontier.size !== signed.size) {
    throw new LogDamaged(
      `the tree has ${frontier.size} entries, and the newest checkpoint is over ${signed.size}`,
    );
  }
  if (!sameBytes(frontier.root(), signed.root)) {
    throw new LogDamaged(`the tree of ${signed.size} entries is not the one that was signed`);
  }
}
