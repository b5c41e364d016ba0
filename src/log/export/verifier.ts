import type { Json } from '../entry/canonical.js';
import { CheckedLines, Fault } from './checkedLines.js';
import { CheckpointError, openCheckpoint, type Checkpoint } from '../note/checkpoint.js';
import { cosignaturesOn, type WitnessKey } from '../note/cosignature.js';
import { EntryError, parseEntry, type Entry, type Phase } from '../entry/entry.js';
import {
  ExportError,
  lineKind,
  parseCheckpointLine,
  parseDocumentLine,
  parseHeaderLine,
  type ExportDocument,
} from './format.js';
import type { Line } from './lines.js';
import { Frontier, leafHash, sameBytes } from '../tree/merkle.js';
import { NoteError, noteVerifier, type NoteVerifier } from '../note/noteKey.js';
import { ActPairing, standsAlone, type OpenAttempt } from './actPairing.js';

/**
 * The act whose `done` entry puts a directory document in force, and the fact in it that names the
 * document's hash.
 */
export const policyAct = 'policy.apply';
export const policyHashFact = 'policyHash';

/** The directory documents of an export, as an entry sees them. */
export interface Documents {
  /** The one in force before this entry; undefined until the first is applied. */
  readonly inForce: Json | undefined;
  /** The one with this hash (see `documentHash`), whether in force or not. */
  find(sha256: string): Json | undefined;
}

/** What an export is checked against. None of it comes from the export. */
export interface VerifierOptions {
  /** The log's public key, pinned: a vkey. */
  readonly logKey: string;
  /** The log's origin, pinned. Without it, the export may be of any log that this key signs for. */
  readonly origin?: string;
  /**
   * An older signed checkpoint of this log, which the export must extend. Only this finds an old backup or
   * a fork.
   */
  readonly against?: string;
  /** Witnesses of whom so many must have cosigned the checkpoint of the export. */
  readonly witnesses?: { readonly keys: readonly WitnessKey[]; readonly require: number };
  /**
   * A further check of each entry, e.g. of the signature on its request; returns why it is refused, if it
   * is. A call that was refused before any attempt is reported then, and believed all the same; so is an attempt, unless it was
   * done or is {@link Invented}: see {@link Came}.
   */
  readonly checkEntry?: (entry: Entry, index: number, documents: Documents) => Objection | Late | undefined;
  /** What follows all the same from an entry that is void, in words; undefined: nothing. */
  readonly followVoid?: (entry: Entry, index: number) => string | undefined;
}

/** Why an entry is refused. */
export type Objection = string | Invented;

/** Why an attempt is refused that no daemon makes, whatever its database hides from it: somebody's word that they have not given. */
export interface Invented {
  readonly invented: string;
}

/** Why nothing comes of an outcome that is otherwise as it should be: that is reported. */
export interface Late {
  readonly late: string;
}

/** The export is complete and true to what the log has signed. */
export interface Believed {
  readonly ok: true;
  readonly origin: string;
  readonly size: number;
  readonly root: Uint8Array;
  /** The signed checkpoint that covers exactly these entries: keep it, to check a later export against. */
  readonly checkpoint: string;
  /** Names of the witnesses, of those given, that have cosigned it. */
  readonly cosignedBy: readonly string[];
  readonly counts: Readonly<Record<Phase | 'documents', number>>;
  /** What is not as it should be about acts that the log does not say were done. */
  readonly reported: Reported;
  /** Attempts without an outcome. Not a fault in itself, yet to be explained when the daemon is at rest. */
  readonly open: readonly OpenAttempt[];
}

/** Entries that show something, and take nothing from what is believed. */
export interface Reported {
  readonly count: number;
  /** Some of them, in the order of the log; at most {@link reportedLimit} of each that {@link Came} tells apart. */
  readonly first: readonly Report[];
}

export interface Report {
  readonly index: number;
  readonly reason: string;
  readonly came: Came;
}

/**
 * What came of an act that should not have been attempted: it was `refused` before any attempt, the attempt was `denied`, it
 * was `undone` because the log was not to be had, it was `interrupted`, or it is `open`. A daemon from which its database has
 * hidden something attempts what it then refuses: that is no ground to disbelieve what the log says. Or the entry is `void`: an
 * outcome of an act that had one before, recorded by a daemon that its database has deceived about who lives; or it is `late`: the
 * same, and something ends by it, or the first outcome of an act whose request has ended in this way meanwhile.
 */
export type Came = 'refused' | 'denied' | 'undone' | 'interrupted' | 'open' | 'void' | 'late';

/** So many reports are kept of each kind: whoever is refused decides how many there are, and hides no other by that. */
export const reportedLimit = 100;

/** The export is not to be believed, and this is the first reason that was met. */
export interface Refused {
  readonly ok: false;
  /**
   * The first entry known to be wrong. Undefined when the fault is not in one entry: above all, a changed
   * entry that is still well-formed shows in nothing but the root.
   */
  readonly index: number | undefined;
  readonly reason: string;
}

export type Verdict = Believed | Refused;

/**
 * Verifies an export of the log (see format.ts) as it streams by, offline: every entry's form, that each
 * outcome belongs to one attempt, the documents, and that the entries are exactly those under the root
 * which the log's pinned key has signed. Holds the frontier of the tree, the documents and the open
 * attempts, so its memory does not grow with the log.
 *
 * Feed it bytes with {@link write} (or lines with {@link line}) and then {@link finish}. After the first
 * fault it reads nothing more.
 */
export class ExportVerifier {
  readonly #options: VerifierOptions;
  readonly #key: NoteVerifier;
  readonly #lines = new CheckedLines({
    accept: (line) => {
      this.#accept(line);
    },
    end: () => {
      this.#checkEnd();
    },
    asFault: (error) => (error instanceof ExportError ? new Fault(error.message) : undefined),
  });
  readonly #acts = new ActPairing();
  readonly #documents = new Map<string, ExportDocument>();
  readonly #applied = new Set<string>();
  readonly #tree = Frontier.empty();
  #inForce: Json | undefined;
  #stage: 'header' | 'documents' | 'entries' | 'complete' = 'header';
  #origin = '';
  #older: Checkpoint | undefined;
  #checkpoint = '';
  #cosignedBy: readonly string[] = [];
  #reportedCount = 0;
  readonly #reported: Report[] = [];
  readonly #kept = new Map<Came, number>();
  /** Open attempts that should not have been made, by their act. */
  readonly #doubted = new Map<string, Pick<Report, 'index' | 'reason'>>();

  /** @throws NoteError when `logKey` is not a vkey. */
  constructor(options: VerifierOptions) {
    this.#options = options;
    this.#key = noteVerifier(options.logKey);
  }

  /** Takes the next bytes of the export, cut anywhere. */
  write(chunk: Uint8Array): void {
    this.#lines.write(chunk);
  }

  /** Takes the next line of the export, without its line feed. */
  line(text: string): void {
    this.#lines.line(text);
  }

  /** Says whether to believe what was read. Nothing may be written afterwards. */
  finish(): Verdict {
    const fault = this.#lines.finish();
    if (fault !== undefined) return { ok: false, index: fault.index, reason: fault.message };
    for (const doubt of this.#doubted.values()) this.#report({ ...doubt, came: 'open' });
    this.#doubted.clear();
    return {
      ok: true,
      origin: this.#origin,
      size: this.#tree.size,
      root: this.#tree.root(),
      checkpoint: this.#checkpoint,
      cosignedBy: this.#cosignedBy,
      counts: { ...this.#acts.counts, documents: this.#documents.size },
      reported: {
        count: this.#reportedCount,
        first: this.#reported.toSorted((one, other) => one.index - other.index),
      },
      open: this.#acts.open,
    };
  }

  #accept(line: Line): void {
    if (this.#stage === 'complete') throw new Fault('there are lines after the checkpoint');
    if (this.#stage === 'header') {
      this.#acceptHeader(line.text);
      return;
    }
    switch (lineKind(line.text)) {
      case 'document':
        this.#acceptDocument(line.text);
        return;
      case 'entry':
        this.#acceptEntry(line, this.#tree.size);
        return;
      case 'checkpoint':
        this.#acceptCheckpoint(line.text);
        return;
    }
  }

  #acceptHeader(line: string): void {
    const { origin, logKey } = parseHeaderLine(line);
    const { logKey: pinnedKey, origin: pinnedOrigin = origin, against } = this.#options;
    if (logKey !== pinnedKey) throw new Fault('the export is of a log with another key');
    if (origin !== pinnedOrigin) throw new Fault('the export is of a log with another origin');
    if (against !== undefined)
      this.#older = within('the older checkpoint', () => openCheckpoint(against, this.#key, origin));
    this.#origin = origin;
    this.#stage = 'documents';
  }

  #acceptDocument(line: string): void {
    if (this.#stage !== 'documents') throw new Fault('a document stands among the entries');
    const document = parseDocumentLine(line);
    if (this.#documents.has(document.sha256)) throw new Fault('a document stands twice');
    this.#documents.set(document.sha256, document);
  }

  #acceptEntry(line: Line, index: number): void {
    this.#stage = 'entries';
    const entry = parsed(line, index);
    const unpaired = this.#acts.follow(entry, index);
    if (unpaired !== undefined && 'fault' in unpaired) throw new Fault(unpaired.fault, index);
    const isVoid = unpaired !== undefined;
    // nothing is learnt from an entry that counts for nothing, but what it ends
    if (isVoid) this.#reportSecond(entry, unpaired.void, index);
    else this.#check(entry, index);
    if (entry.act === policyAct && entry.phase === 'done') {
      const applied = this.#named(entry, index);
      if (!isVoid) this.#inForce = applied.document;
    }
    this.#tree.append(leafHash(line.bytes));
    if (this.#tree.size === this.#older?.size && !sameBytes(this.#tree.root(), this.#older.root)) {
      throw new Fault(
        `root mismatch: the first ${this.#older.size} entries are not those of the older checkpoint`,
      );
    }
  }

  #check(entry: Entry, index: number): void {
    const objection = this.#options.checkEntry?.(entry, index, {
      inForce: this.#inForce,
      find: (sha256) => this.#documents.get(sha256)?.document,
    });
    const doubt = this.#doubted.get(entry.id);
    if (doubt !== undefined && entry.phase !== 'attempted') this.#settle(entry, doubt);
    if (objection === undefined) return;
    if (typeof objection === 'object' && 'late' in objection) {
      this.#report({ index, reason: objection.late, came: 'late' });
      return;
    }
    const isInvented = typeof objection === 'object';
    const reason = isInvented ? objection.invented : objection;
    if (entry.phase === 'attempted' && !isInvented) this.#doubted.set(entry.id, { index, reason });
    else if (standsAlone(entry)) this.#report({ index, reason, came: 'refused' });
    else throw new Fault(reason, index);
  }

  /** What an attempt that should not have been made has come to; a fault when it was done, or may have been in part. */
  #settle({ id, phase, error }: Entry, doubt: Pick<Report, 'index' | 'reason'>): void {
    const came = phase === 'denied' ? 'denied' : phase === 'failed' ? NOT_DONE.get(error ?? '') : undefined;
    if (came === undefined) throw new Fault(doubt.reason, doubt.index);
    this.#doubted.delete(id);
    this.#report({ ...doubt, came });
  }

  #reportSecond(entry: Entry, reason: string, index: number): void {
    const follows = this.#options.followVoid?.(entry, index);
    if (follows === undefined) this.#report({ index, reason, came: 'void' });
    else this.#report({ index, reason: `${reason}; ${follows}`, came: 'late' });
  }

  #report(report: Report): void {
    this.#reportedCount += 1;
    const kept = this.#kept.get(report.came) ?? 0;
    if (kept === reportedLimit) return;
    this.#kept.set(report.came, kept + 1);
    this.#reported.push(report);
  }

  /** The document that an entry names. */
  #named(entry: Entry, index: number): ExportDocument {
    const hash = entry.detail[policyHashFact];
    const applied = typeof hash === 'string' ? this.#documents.get(hash) : undefined;
    if (applied === undefined)
      throw new Fault('puts a document in force that the export does not have', index);
    this.#applied.add(applied.sha256);
    return applied;
  }

  #acceptCheckpoint(line: string): void {
    const note = parseCheckpointLine(line);
    const { size, root } = within('the checkpoint', () => openCheckpoint(note, this.#key, this.#origin));
    const held = this.#tree.size;
    if (held < size)
      throw new Fault(`the checkpoint covers ${size} entries, the export has ${held}: truncated`, held);
    if (held > size) throw new Fault(`the checkpoint covers ${size} entries, the export has ${held}`, size);
    if (!sameBytes(this.#tree.root(), root))
      throw new Fault('root mismatch: the entries are not those that were signed');
    this.#checkCosignatures(note);
    this.#checkpoint = note;
    this.#stage = 'complete';
  }

  #checkCosignatures(note: string): void {
    const { keys, require } = this.#options.witnesses ?? { keys: [], require: 0 };
    const found = within('the checkpoint', () => cosignaturesOn(note, keys));
    if (found.length < require) {
      throw new Fault(
        `the checkpoint is cosigned by ${found.length} of the witnesses given, and ${require} are required`,
      );
    }
    this.#cosignedBy = found.map(({ witness }) => witness.name);
  }

  #checkEnd(): void {
    if (this.#stage !== 'complete') throw new Fault('the export ends without a checkpoint: truncated');
    if (this.#older !== undefined && this.#older.size > this.#tree.size) {
      throw new Fault(
        `the export has ${this.#tree.size} entries, the older checkpoint ${this.#older.size}: rolled back`,
      );
    }
    const stray = [...this.#documents.keys()].find((hash) => !this.#applied.has(hash));
    if (stray !== undefined) throw new Fault(`no entry puts the document ${stray} in force`);
  }
}

/** Failures of which the log does not say that anything was done: the token was not used, or nobody knows. */
const NOT_DONE: ReadonlyMap<string, Came> = new Map([
  ['log-unavailable', 'undone'],
  ['interrupted', 'interrupted'],
]);

function parsed({ text, bytes }: Line, index: number): Entry {
  try {
    return parseEntry(text, bytes.length);
  } catch (error) {
    if (error instanceof EntryError) throw new Fault(`not an entry: ${error.message}`, index);
    throw error;
  }
}

function within<T>(what: string, open: () => T): T {
  try {
    return open();
  } catch (error) {
    if (error instanceof NoteError || error instanceof CheckpointError)
      throw new Fault(`${what}: ${error.message}`);
    throw error;
  }
}
