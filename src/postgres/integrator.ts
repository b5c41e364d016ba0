import { setTimeout as delay } from 'node:timers/promises';
import { EscrowError } from '../escrow/errors.js';
import type { CheckpointSigner } from '../escrow/ports.js';
import { formatCheckpoint, openCheckpoint, type Checkpoint } from '../log/checkpoint.js';
import { Frontier, hashLengthBytes, sameBytes } from '../log/merkle.js';
import { formatNote, noteSigningBytes } from '../log/note.js';
import { noteVerifier, type NoteVerifier } from '../log/noteKey.js';
import { growTree, type CompletedTile } from '../log/tiles.js';
import { LogDamaged, safeInteger } from './faults.js';
import type { Ask, Pool } from './pool.js';
import { indexSubjects } from './subjectIndex.js';

/** A signed checkpoint as it is stored. */
export interface StoredCheckpoint {
  readonly size: number;
  readonly note: string;
}

export interface IntegratorOptions {
  readonly pool: Pool;
  readonly signer: CheckpointSigner;
  readonly log: { warn(message: string): void };
  /** What the start has found to be signed. */
  readonly trusted: TrustedCheckpoint;
  /** How often, at most, appends alone make a checkpoint. A reader who waits for one does not wait for this. */
  readonly checkpointIntervalMs: number;
}

/** The newest tree that this daemon has seen signed. Without a note, it is the empty one, which nobody signs. */
export type TrustedCheckpoint = Checkpoint & { readonly note: string | undefined };

/** Entries read at a time. */
const pageLength = 10_000;
/** Rests between tries: while another daemon integrates, and after a failure. */
const restMs = 5;
const retryMs = 1000;

/**
 * Makes the tree and its checkpoints of the entries that the journal has put in order. Of several daemons one at a time
 * does so, and each goes on from what the others have stored.
 */
export class Integrator {
  readonly #options: IntegratorOptions;
  readonly #verifier: NoteVerifier;
  #trusted: TrustedCheckpoint;
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
  }

  /** Why the last run failed; undefined when it did not. */
  get fault(): Error | undefined {
    return this.#fault;
  }

  /** The newest tree that is known to be signed. */
  get trusted(): TrustedCheckpoint {
    return this.#trusted;
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
  async covering(size: number, timeoutMs: number): Promise<StoredCheckpoint> {
    const deadline = performance.now() + timeoutMs;
    for (let run = false; ; run = true) {
      const newest = await newestCheckpoint(this.#options.pool.ask);
      if (newest !== undefined && newest.size >= size) return newest;
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
    this.#lastRunAt = performance.now();
    try {
      const extended = await this.#options.pool.transaction((ask) => this.#extend(ask));
      if (extended !== undefined) this.#trusted = extended;
      this.#fault = undefined;
      return extended !== undefined;
    } catch (error) {
      const fault = error instanceof Error ? error : new Error(String(error));
      if (this.#fault?.message !== fault.message) {
        this.#options.log.warn(`the log's checkpoint cannot be brought up to date: ${fault.message}`);
      }
      this.#fault = fault;
      throw error;
    }
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
   * Reads what is not in the tree yet, stores the tree and the checkpoint that have it, and returns that. Undefined when
   * another daemon is at it.
   */
  async #extend(ask: Ask): Promise<TrustedCheckpoint | undefined> {
    const [state] = await ask<{ size: string; frontier: Uint8Array }>(
      'select size, frontier from log_frontier where id = 1 for update skip locked',
    );
    if (state === undefined) return undefined;
    let frontier = readFrontier(state);
    const before = await this.#requireTrusted(ask, frontier);

    const completed: CompletedTile[] = [];
    const from = frontier.size;
    for (let read = pageLength; read === pageLength;) {
      const leaves = await readLeaves(ask, frontier.size, pageLength);
      read = leaves.length;
      const grown = growTree(frontier, leaves);
      frontier = grown.frontier;
      completed.push(...grown.completed);
    }
    if (frontier.size === from) return before;

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
    return { ...checkpoint, note };
  }

  /**
   * What is about to be extended must be what was signed last, or this daemon would sign a fork. Returns what that is.
   * Throws LogDamaged when it is something else, or when what this daemon knows to be signed is gone.
   */
  async #requireTrusted(ask: Ask, frontier: Frontier): Promise<TrustedCheckpoint> {
    const trusted = this.#trusted;
    const stored = await newestCheckpoint(ask);
    const newest =
      stored === undefined || stored.note === trusted.note
        ? undefined
        : openStored(stored, this.#verifier, this.#options.signer.origin);
    if ((stored?.size ?? 0) < trusted.size) {
      throw new LogDamaged(`the checkpoint over ${trusted.size} entries is gone from the database`);
    }
    if (newest?.size === trusted.size && !sameBytes(newest.root, trusted.root)) {
      throw new LogDamaged(`there are two checkpoints over ${newest.size} entries, with different roots`);
    }
    const last = newest === undefined ? trusted : { ...newest, note: stored?.note };
    requireSame(frontier, last);
    return last;
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

/** The newest checkpoint that is stored. */
export async function newestCheckpoint(ask: Ask): Promise<StoredCheckpoint | undefined> {
  const [row] = await ask<{ size: string; note: string }>(
    'select size, note from log_checkpoint order by size desc limit 1',
  );
  return row === undefined ? undefined : { size: safeInteger(row.size), note: row.note };
}

/** Opens a stored checkpoint. Throws LogDamaged when it is not one that this log's key has signed. */
export function openStored(stored: StoredCheckpoint, key: NoteVerifier, origin: string): Checkpoint {
  try {
    const checkpoint = openCheckpoint(stored.note, key, origin);
    if (checkpoint.size !== stored.size) throw new Error(`it is over ${checkpoint.size}`);
    return checkpoint;
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new LogDamaged(`the stored checkpoint over ${stored.size} entries is not this log's: ${why}`, {
      cause,
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

/**
 * Hashes of the entries `from` on, at most `limit`, as RFC 6962 section 2.1 has them for leaves. The server makes them, so
 * that the entries need not be sent here. Throws LogDamaged when one is missing between others.
 */
export async function readLeaves(ask: Ask, from: number, limit: number): Promise<readonly Uint8Array[]> {
  const [read] = await ask<{ count: number; end: string | null; hashes: Uint8Array | null }>(
    `select count(*)::int as count, max(seq) + 1 as end, string_agg(sha256('\\x00'::bytea || entry), '' order by seq) as hashes
     from (select seq, entry from log_entry where seq >= ? order by seq limit ?) as e`,
    [from, limit],
  );
  if (read?.hashes == null) return [];
  const { count, end, hashes } = read;
  if (end !== String(from + count)) {
    throw new LogDamaged(`the entry ${await firstMissing(ask, from)} is gone from the log`);
  }
  return Array.from({ length: count }, (_, at) =>
    hashes.subarray(at * hashLengthBytes, (at + 1) * hashLengthBytes),
  );
}

/** The first place from here on where no entry stands. */
async function firstMissing(ask: Ask, from: number): Promise<string> {
  const [row] = await ask<{ place: string }>(
    `select min(place) as place
     from (select seq, ? + row_number() over (order by seq) - 1 as place from log_entry where seq >= ?) as e
     where seq <> place`,
    [from, from],
  );
  return row?.place ?? String(from);
}
