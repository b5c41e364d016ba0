import type { Notice } from '../records/notice.js';

/**
 * The log is the outbox: an entry is durable with what it records, so what is to be told cannot be forgotten, and costs
 * the commit nothing. What is kept beside it is how far each sink has come.
 */

/** A place in the sequence of all notices: an entry, and the position among its notices. All before it are delivered. */
export interface NoticeCursor {
  readonly entry: number;
  readonly position: number;
}

/** How far a sink has come, and what holds it up. */
export interface SinkProgress {
  readonly place: NoticeCursor;
  /** Tries at the notice of this place that failed, in a row. */
  readonly attempts: number;
  /** No try before it; undefined: at once. */
  readonly notBefore: Date | undefined;
}

/** A sink as an operator sees it. */
export interface SinkState {
  readonly sink: string;
  /** Entries of the log that it has not come to yet. */
  readonly waiting: number;
  /** Index of the first of them, or of the entry that comes next. */
  readonly next: number;
  /** Why the last try failed, in a sentence that a stranger may read; undefined when it did not. */
  readonly fault: string | undefined;
  /** How many notices were given up, and not delivered since. */
  readonly dropped: number;
}

/**
 * Progress of the sinks, in the database that several daemons share. Those that answer with a boolean do nothing and say
 * false when another daemon has the lease by now. All throw EscrowError `store-unavailable`.
 */
export interface Outbox {
  /** Makes a sink known: it begins at the end of the log, not of history. Does nothing when it is known. */
  register(sink: string): Promise<void>;
  /** Takes or renews this daemon's lease on a sink, and says how far the sink is; undefined while another daemon has it. */
  lease(sink: string): Promise<SinkProgress | undefined>;
  /**
   * All before `to` is delivered, which follows `from`; `again` are the ids of those among them that had been given up before.
   * Durable when it resolves; renews the lease.
   */
  advance(sink: string, from: NoticeCursor, to: NoticeCursor, again?: readonly string[]): Promise<boolean>;
  /** A try failed, and the next is due then. */
  postpone(
    sink: string,
    at: NoticeCursor,
    failure: { readonly attempts: number; readonly notBefore: Date; readonly fault: string },
  ): Promise<boolean>;
  /** Gives up a notice, until somebody has it sent again; writes that down with the reason, and goes on after it. */
  drop(
    sink: string,
    from: NoticeCursor,
    to: NoticeCursor,
    given: { readonly notice: Pick<Notice, 'id' | 'entry' | 'to' | 'kind'>; readonly fault: string },
  ): Promise<boolean>;
  /** Gives the lease back, so that another daemon need not wait for its end. */
  release(sink: string): Promise<void>;
  states(sinks: readonly string[]): Promise<readonly SinkState[]>;
}
