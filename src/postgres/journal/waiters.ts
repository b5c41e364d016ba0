import { EscrowError } from '../../escrow/records/errors.js';
import type { JournalWrite } from '../../escrow/ports/journal.js';

/** A write whose caller waits. */
export interface Waiting {
  readonly write: JournalWrite;
  readonly resolve: (answer: { readonly index: number }) => void;
  readonly reject: (error: Error) => void;
  /** On the clock of `performance`. */
  readonly deadlineAt: number;
  /** Answered, or given up by its deadline. */
  settled: boolean;
}

/** All who wait, each until its deadline. One timer serves them: they come in the order of their deadlines. */
export class Waiters {
  readonly #deadlineMs: number;
  readonly #cause: () => unknown;
  readonly #all = new Set<Waiting>();
  #timer: NodeJS.Timeout | undefined;

  /** `cause`: what to give as the cause to those whose deadline passes; they are told `log-unavailable`. */
  constructor(deadlineMs: number, cause: () => unknown) {
    this.#deadlineMs = deadlineMs;
    this.#cause = cause;
  }

  /** One more waits from now on, and is handed to `join`. */
  add(write: JournalWrite, join: (waiting: Waiting) => void): Promise<{ readonly index: number }> {
    return new Promise((resolve, reject) => {
      const deadlineAt = performance.now() + this.#deadlineMs;
      const waiting = { write, resolve, reject, deadlineAt, settled: false };
      this.#all.add(waiting);
      if (this.#timer === undefined) this.#startTimer(this.#deadlineMs);
      join(waiting);
    });
  }

  /** Answers one that still waits. */
  resolve(waiting: Waiting, index: number): void {
    if (this.#settle(waiting)) waiting.resolve({ index });
  }

  /** Tells one that still waits why nothing was recorded, or is known. */
  reject(waiting: Waiting, error: Error): void {
    if (this.#settle(waiting)) waiting.reject(error);
  }

  #settle(waiting: Waiting): boolean {
    waiting.settled = true;
    return this.#all.delete(waiting);
  }

  /** It does not keep the program alive: what waits has a connection, or a pause before the next one, that does. */
  #startTimer(ms: number): void {
    this.#timer = setTimeout(() => {
      this.#expire();
    }, ms).unref();
  }

  #expire(): void {
    this.#timer = undefined;
    const now = performance.now();
    for (const waiting of this.#all) {
      if (waiting.deadlineAt > now) {
        this.#startTimer(waiting.deadlineAt - now);
        return;
      }
      this.reject(waiting, new EscrowError('log-unavailable', undefined, { cause: this.#cause() }));
    }
  }
}
