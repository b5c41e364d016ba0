import { EscrowError } from '../../escrow/records/errors.js';

/** The requests under way: at most so many, and none more once draining has begun. */
export class InFlight {
  #limit: number;
  readonly #waiting: (() => void)[] = [];
  #count = 0;
  #isDraining = false;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Lets so many begin from now on; those under way go on. */
  set limit(limit: number) {
    this.#limit = limit;
  }

  /** Whether {@link drain} has been called. */
  get isDraining(): boolean {
    return this.#isDraining;
  }

  /** @throws EscrowError `shutting-down` once draining has begun */
  requireOpen(): void {
    if (this.#isDraining) throw new EscrowError('shutting-down');
  }

  /** @throws EscrowError `shutting-down`, `busy` before `work` begins; what `work` throws goes through. */
  async run<T>(work: () => Promise<T>): Promise<T> {
    this.requireOpen();
    if (this.#count >= this.#limit)
      throw new EscrowError('busy', 'Too many requests are under way; try again.');
    this.#count += 1;
    try {
      return await work();
    } finally {
      this.#count -= 1;
      if (this.#count === 0) for (const wake of this.#waiting.splice(0)) wake();
    }
  }

  /** Lets nothing more begin, and waits for what is under way. Returns how many were left at the deadline. */
  async drain(deadlineMs: number): Promise<number> {
    this.#isDraining = true;
    if (this.#count === 0) return 0;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, deadlineMs);
      this.#waiting.push(() => {
        clearTimeout(timer);
        resolve();
      });
    });
    return this.#count;
  }
}
