import type { Entry } from '../../log/entry/entry.js';
import type { Documents } from '../../log/export/verifier.js';

/** An entry, and what the verifier knows of it. */
export interface SeenEntry {
  readonly entry: Entry;
  readonly index: number;
  readonly documents: Documents;
  /** Why it is not what it should be, where that is reported and the log believed all the same. */
  readonly doubt: string | undefined;
  /**
   * The administrators whose signatures under what they decide together hold, of an attempt that has such; undefined also where
   * nobody knows their keys, which is so before the first policy.
   */
  readonly signers: readonly string[] | undefined;
}

/**
 * Learns from the entries of an export while it is verified. What it has learnt counts only if the whole export is believed in
 * the end.
 */
export interface EntryFollower {
  /** Takes the next entry; one that counts for nothing is left out. */
  follow(seen: SeenEntry): void;
  /** Takes an outcome whose act had one before, by which something has ended all the same. */
  ended(entry: Entry, index: number): void;
}
