import { setTimeout as pause } from 'node:timers/promises';

import type { ProofReply } from '../../api/replies.js';
import { decodeBase64, decodeBase64url } from '../../log/note/base64.js';
import { type Checkpoint, CheckpointError, openCheckpoint } from '../../log/note/checkpoint.js';
import { cosignaturesOn } from '../../log/note/cosignature.js';
import { type Entry, decodeEntry, EntryError } from '../../log/entry/entry.js';
import { leafHash } from '../../log/tree/merkle.js';
import { type NoteVerifier, keyIdHex, NoteError, noteVerifier } from '../../log/note/noteKey.js';
import { ProofError, verifyConsistency, verifyInclusion } from '../../log/tree/proof.js';
import { type Disbelief, NotBelieved } from '../errors.js';
import type { LogMemory } from './logMemory.js';
import type { RequiredWitnesses } from './witnessPins.js';

/** What is pinned and remembered of a log, and how its server is asked for proofs. None of it but the proofs comes from the server. */
export interface LogViewParts {
  readonly origin: string;
  /** Pinned: a C2SP verifier key. */
  readonly logKey: string;
  readonly memory: LogMemory;
  /** Asks the server for a consistency proof (RFC 6962 section 2.1.2). */
  readonly consistency: (oldSize: number, newSize: number) => Promise<readonly Uint8Array[]>;
  /** Pinned: who must have cosigned the log before an entry of it is believed. Without it, nobody. */
  readonly witnesses?: RequiredWitnesses | undefined;
  /** Asks the server for the newest checkpoint with so many cosignatures by witnesses with these key ids. */
  readonly witnessed?: (count: number, keyIds: readonly string[]) => Promise<string | undefined>;
  /** How long cosignatures are waited for: witnesses follow the log within a second or so, not at once. */
  readonly patience?: { readonly totalMs: number; readonly retryMs: number };
}

/** A checkpoint that the required witnesses have cosigned. */
export interface WitnessedCheckpoint {
  readonly checkpoint: Checkpoint;
  readonly note: string;
  /** Names of the pinned witnesses that have cosigned it. */
  readonly by: readonly string[];
}

const defaultPatience = { totalMs: 15_000, retryMs: 500 };

/**
 * The log as one client has seen it. Whatever is shown must be signed by the pinned key and continue what was seen
 * before; so a server that shows different people different logs, or an old backup, is found by each of them.
 */
export class LogView {
  readonly #parts: LogViewParts;
  readonly #key: NoteVerifier;
  /** What was remembered when this view began, or when it last believed: nothing older is shown to it honestly. */
  #floor: Promise<string | undefined>;
  #isBeginning = false;

  constructor(parts: LogViewParts) {
    this.#parts = parts;
    this.#key = noteVerifier(parts.logKey);
    this.#floor = parts.memory.last();
    // told to whoever believes
    this.#floor.catch(() => undefined);
  }

  /** The C2SP verifier key that is pinned. */
  get key(): string {
    return this.#parts.logKey;
  }

  /** Whether nothing was remembered when this view first believed: then what it was shown continues nothing. */
  get isBeginning(): boolean {
    return this.#isBeginning;
  }

  /**
   * Believes a checkpoint, and remembers it when it resolves. What is remembered never becomes less, also when other clients
   * believe by the same memory at the same time; one of them may have remembered more while this one was being shown its own.
   * @throws NotBelieved `checkpoint-invalid`, `log-rolled-back`, `log-forked`
   */
  async believe(note: string): Promise<Checkpoint> {
    const shown = this.#open(note);
    const floor = await this.#floor;
    for (;;) {
      const seenNote = await this.#parts.memory.last();
      if (seenNote === undefined) {
        if (!(await this.#parts.memory.remember(note, undefined))) continue;
        this.#isBeginning = true;
        this.#floor = Promise.resolve(note);
        return shown;
      }
      const seen = this.#open(seenNote);
      const least = floor === undefined ? 0 : this.#open(floor).size;
      if (shown.size < least) {
        throw await this.#contradiction(
          'log-rolled-back',
          `the log shown has ${shown.size} entries; this identity has seen ${seen.size}`,
          { seen: seenNote, shown: note },
        );
      }
      if (shown.size < seen.size) await this.#checkContinues(shown, seen, note, seenNote);
      else await this.#checkContinues(seen, shown, seenNote, note);
      if (shown.size > seen.size && !(await this.#parts.memory.remember(note, seenNote))) continue;
      this.#floor = Promise.resolve(shown.size > seen.size ? note : seenNote);
      return shown;
    }
  }

  /**
   * Believes that the log is empty, when nothing of it was ever seen.
   * @throws NotBelieved `log-rolled-back`
   */
  async expectNothingSeen(): Promise<void> {
    const seenNote = await this.#parts.memory.last();
    if (seenNote !== undefined && this.#open(seenNote).size > 0) {
      throw new NotBelieved(
        'log-rolled-back',
        'the log shown is empty; this identity has seen entries in it',
      );
    }
  }

  /**
   * Believes that an entry is in the log, and that the required witnesses have seen it there.
   * @throws NotBelieved as {@link believe} and {@link believeWitnessed}; `entry-mismatch` when it is not an entry,
   *   `entry-not-in-log`
   */
  async believeEntry(shown: ProofReply): Promise<{ readonly entry: Entry; readonly checkpoint: Checkpoint }> {
    const bytes = Buffer.from(shown.entry);
    const entry = decoded(bytes);
    const checkpoint = await this.believe(shown.checkpoint);
    const proof = shown.proof.map((hash) => decodeBase64url(hash) ?? decodeBase64(hash) ?? new Uint8Array(0));
    this.believeInclusion({ index: shown.index, entry: bytes, proof }, checkpoint);
    // the entry is under this checkpoint, and one log has this one and the witnessed one: so it is under that as well
    await this.believeWitnessed(shown.index + 1);
    return { entry, checkpoint };
  }

  /**
   * Believes that these bytes are an entry under a checkpoint that was believed before.
   * @throws NotBelieved `entry-mismatch` when they are not an entry, `entry-not-in-log`
   */
  believeInclusion(
    shown: {
      readonly index: number;
      readonly entry: Uint8Array;
      readonly proof: readonly Uint8Array[];
    },
    { size, root }: Checkpoint,
  ): Entry {
    const { index, entry: bytes, proof } = shown;
    const entry = decoded(bytes);
    try {
      verifyInclusion({ index, size, leafHash: leafHash(bytes), proof, root });
    } catch (cause) {
      if (!(cause instanceof ProofError)) throw cause;
      throw new NotBelieved('entry-not-in-log', `the entry shown is not in the log: ${cause.message}`, {
        cause,
      });
    }
    return entry;
  }

  /**
   * Believes a checkpoint over at least `covering` entries that the required witnesses have cosigned, and that is one
   * log with what was seen before; waits for it. Undefined when no witnesses are required. Cosignatures from before `since` do
   * not count, where it is given.
   * @throws NotBelieved as {@link believe}; `cosignature-invalid`, `witnesses-missing`
   */
  async believeWitnessed(covering: number, since?: Date): Promise<WitnessedCheckpoint | undefined> {
    const { witnesses, witnessed, patience = defaultPatience } = this.#parts;
    if (witnesses === undefined || witnessed === undefined) return undefined;
    const { require } = witnesses;
    const deadline = performance.now() + patience.totalMs;
    for (;;) {
      const found = await this.#cosigned(require, covering, since);
      if (found !== undefined && found.by.length >= require) {
        await this.#believeBeside(found);
        return found;
      }
      if (performance.now() >= deadline) break;
      await pause(patience.retryMs);
    }
    const found = await this.#mostCosigned(covering, since);
    throw new NotBelieved(
      'witnesses-missing',
      `${found} of the ${require} witnesses required have cosigned a log of at least ${covering} entries${since === undefined ? '' : ` since ${since.toISOString()}`}`,
    );
  }

  /** What the server shows when it is asked for so many cosignatures, when that covers enough entries. */
  async #cosigned(
    count: number,
    covering: number,
    since: Date | undefined,
  ): Promise<WitnessedCheckpoint | undefined> {
    const { witnesses, witnessed } = this.#parts;
    if (witnesses === undefined || witnessed === undefined) return undefined;
    const note = await witnessed(
      count,
      witnesses.keys.map(({ keyId }) => keyIdHex(keyId)),
    );
    if (note === undefined) return undefined;
    const checkpoint = this.#open(note);
    if (checkpoint.size < covering) return undefined;
    try {
      const sinceSeconds = Math.floor((since?.getTime() ?? 0) / 1000);
      const by = cosignaturesOn(note, witnesses.keys)
        .filter(({ timestamp }) => timestamp >= sinceSeconds)
        .map(({ witness }) => witness.name);
      return { checkpoint, note, by };
    } catch (cause) {
      if (!(cause instanceof NoteError)) throw cause;
      throw new NotBelieved('cosignature-invalid', `the checkpoint cannot be believed: ${cause.message}`, {
        cause,
      });
    }
  }

  /** How many cosignatures there are, where they are too few. */
  async #mostCosigned(covering: number, since: Date | undefined): Promise<number> {
    for (let count = (this.#parts.witnesses?.require ?? 0) - 1; count > 0; count -= 1) {
      const found = await this.#cosigned(count, covering, since);
      if (found !== undefined) return found.by.length;
    }
    return 0;
  }

  /** The witnessed checkpoint may be older than what was seen last, or newer: both must be of one log. */
  async #believeBeside({ checkpoint, note }: WitnessedCheckpoint): Promise<void> {
    const seenNote = await this.#parts.memory.last();
    const seen = seenNote === undefined ? undefined : this.#open(seenNote);
    if (seenNote === undefined || seen === undefined || checkpoint.size >= seen.size) {
      await this.believe(note);
      return;
    }
    await this.#checkContinues(checkpoint, seen, note, seenNote);
  }

  #open(note: string): Checkpoint {
    try {
      return openCheckpoint(note, this.#key, this.#parts.origin);
    } catch (cause) {
      if (!(cause instanceof NoteError) && !(cause instanceof CheckpointError)) throw cause;
      throw new NotBelieved('checkpoint-invalid', `the checkpoint cannot be believed: ${cause.message}`, {
        cause,
      });
    }
  }

  async #checkContinues(seen: Checkpoint, shown: Checkpoint, seenNote: string, note: string): Promise<void> {
    const ask = shown.size > seen.size && seen.size > 0;
    const proof = ask ? await this.#parts.consistency(seen.size, shown.size) : [];
    try {
      verifyConsistency({
        oldSize: seen.size,
        newSize: shown.size,
        oldRoot: seen.root,
        newRoot: shown.root,
        proof,
      });
    } catch (error) {
      if (!(error instanceof ProofError)) throw error;
      throw await this.#contradiction(
        'log-forked',
        `the log shown (${shown.size} entries) does not continue the one seen before (${seen.size} entries)`,
        { seen: seenNote, shown: note, proof: proof.map((hash) => Buffer.from(hash).toString('base64')) },
      );
    }
  }

  /** Two checkpoints signed by the log that cannot both be true are proof; they are kept. */
  async #contradiction(
    code: Disbelief,
    detail: string,
    evidence: Readonly<Record<string, unknown>>,
  ): Promise<NotBelieved> {
    const path = await this.#parts.memory.keepEvidence({ code, ...evidence });
    return new NotBelieved(code, `${detail}; both signed checkpoints are kept in ${path}`, { evidence });
  }
}

function decoded(bytes: Uint8Array): Entry {
  try {
    return decodeEntry(bytes);
  } catch (cause) {
    if (!(cause instanceof EntryError)) throw cause;
    throw new NotBelieved('entry-mismatch', `what is shown is not a log entry: ${cause.message}`, { cause });
  }
}
