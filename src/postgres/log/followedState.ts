/** Who takes every entry of the log, in order. */
export interface Follow {
  /** The index of the first entry to be taken, at most the size of the newest checkpoint; 0 when it is not given. */
  readonly from?: number;
  /**
   * Takes the next entry: each once, without a gap, in the order of the log, whichever daemon wrote it. Before the database is
   * open it is given all that stand there. Throws when the log cannot have this entry here: then the log is damaged.
   */
  take(index: number, entry: Uint8Array): void;
  /** What it has made of the entries, where that can be kept for another start. */
  readonly state?: FollowedState;
}

/** A state that is kept. */
export interface FollowedState {
  /** Which release of the program it is of: what another has saved is not restored. */
  readonly release: string;
  /** What the entries that were taken have made: a value for the structured clone algorithm. */
  save(): unknown;
  /** Takes what {@link save} gave in place of the entries that had made it. Before the first is taken; all or nothing. */
  restore(saved: unknown): void;
}

/** A state, and the entries that have made it. */
export interface StateSnapshot {
  readonly size: number;
  /** Of the tree of these entries. */
  readonly root: Uint8Array;
  readonly state: Uint8Array;
}
