import type { Anchor, Anchoring } from '../../log/anchor.js';
import type { Tile } from '../../log/tree/tiles.js';
import type { RecoveryId } from '../records/ids.js';
import type { Subject } from '../../log/entry/entry.js';
import type { PageRequest, Page } from './store.js';

export interface LogReader {
  /** The newest signed checkpoint; undefined while the log is empty. */
  checkpoint(): Promise<SignedCheckpoint | undefined>;
  /**
   * The newest checkpoint that so many witnesses have cosigned, looked for among the 10,000 newest cosignatures; undefined
   * when there is none.
   */
  witnessed(by: Witnessed): Promise<SignedCheckpoint | undefined>;
  /** Entries `from` on, in order, at most `limit`. */
  entries(from: number, limit: number): Promise<readonly StoredEntry[]>;
  /**
   * Entries that have all of this as their subject, newest first; with `below`, only those of a lower index. About a `key`
   * are those that have it as their key or among their keys; a page of these may have fewer than `limit`, and a next one.
   */
  entriesAbout(about: Omit<Subject, 'keys'>, page: PageRequest, below?: number): Promise<Page<StoredEntry>>;
  /** The `done` entry of act `recovery.request` about this recovery. */
  filing(recovery: RecoveryId): Promise<StoredEntry | undefined>;
  /**
   * The RFC 6962 inclusion proof of an entry in the newest checkpoint's tree; waits until that covers the entry and this
   * daemon has compared it with the leaves that it knows, its own among them. EscrowError `log-unavailable` when it takes too
   * long, or the tree turns out to be another one.
   */
  inclusion(
    index: number,
  ): Promise<{ readonly checkpoint: string; readonly size: number; readonly proof: readonly Uint8Array[] }>;
  /**
   * Inclusion proofs of several entries in one tree: in that of the checkpoint over `size`, EscrowError
   * `request-malformed` when none was signed or it does not have them all; without `size` in that of a checkpoint which
   * covers them all, as {@link inclusion} does. `checkpoint` is undefined only while the log is empty.
   */
  inclusions(
    indexes: readonly number[],
    size: number | undefined,
  ): Promise<{
    readonly checkpoint: string | undefined;
    readonly proofs: readonly (readonly Uint8Array[])[];
  }>;
  /** The root of the tree over the first `size` entries; undefined when no checkpoint that was signed reaches so far. */
  rootAt(size: number): Promise<Uint8Array | undefined>;
  /** The RFC 6962 consistency proof between two sizes, both at most the newest checkpoint's. */
  consistency(oldSize: number, newSize: number): Promise<readonly Uint8Array[]>;
  /**
   * The first `width` hashes of a C2SP tile, one after the other; undefined when the newest checkpoint's tree does not
   * have so many there.
   */
  tile(tile: Tile): Promise<Uint8Array | undefined>;
}
/* ------------------------------------------------------------------ the log */
export interface StoredEntry {
  readonly index: number;
  readonly entry: Uint8Array;
}

/** A signed checkpoint (a C2SP signed note), with the cosignatures of witnesses that are known of it. */
export interface SignedCheckpoint {
  readonly size: number;
  readonly note: string;
}

/** How many witnesses must have cosigned a checkpoint, and which of them count; all, when it is not said. */
export interface Witnessed {
  readonly count: number;
  /** Key ids, eight hexadecimal digits each. */
  readonly by: readonly string[] | undefined;
}

/** A cosignature (C2SP tlog-cosignature) of the checkpoint of this size, which has been checked. */
export interface KeptCosignature {
  readonly size: number;
  /** The name of the witness's key. */
  readonly name: string;
  /** Eight hexadecimal digits. */
  readonly keyId: string;
  /** The line of the note, with its newline. */
  readonly line: string;
  /** When the witness says that it cosigned: seconds since 1970. */
  readonly at: number;
}

/** What those who show the log to witnesses need of it. Each throws EscrowError `store-unavailable`. */
export interface WitnessedLog {
  /** The newest checkpoint as the log has signed it, without cosignatures; undefined while there is none. */
  newest(): Promise<SignedCheckpoint | undefined>;
  /**
   * The size of the largest checkpoint that this witness has cosigned, as far as is kept, and when it did last (seconds since
   * 1970); 0 for none.
   */
  cosignedBy(name: string, keyId: string): Promise<{ readonly size: number; readonly at: number }>;
  /** RFC 6962 section 2.1.2; both sizes at most that of the newest checkpoint. */
  consistency(oldSize: number, newSize: number): Promise<readonly Uint8Array[]>;
  /** Durable when it resolves. One that is kept already stays as it is. */
  keep(cosignature: KeptCosignature): Promise<void>;
}

/** Where the log is remembered outside the database: in the token. */
export interface Anchorage {
  /** What is remembered. Throws EscrowError `token-unavailable`, also when there is none: it is made by people. */
  readAnchor(): Promise<Anchor>;
  /** Remembers a longer log, unless one as long is remembered. Throws EscrowError `token-unavailable`. */
  writeAnchor(anchor: Anchoring): Promise<void>;
}

/** What the token remembers of the log: by it a daemon knows that nobody uses the token on another copy of the database. */
export interface LogMemory {
  /**
   * Resolves when the token remembers the log with the entry at this index: a daemon on a copy of the database that was made
   * before it does not take the token for its own from then on. Throws EscrowError `token-unavailable`, `log-unavailable`.
   */
  anchored(index: number): Promise<void>;
  /**
   * Checks that what the token remembers is of this log, before anything is destroyed in it. Throws when it is not, and this
   * daemon stops; EscrowError `token-unavailable`, `store-unavailable`.
   */
  requireOwnToken(): Promise<void>;
}
