import { EscrowError } from '../escrow/errors.js';

/** How often something may be done: `perSecond` on average, `burst` at once after a rest. */
export interface Rate {
  readonly perSecond: number;
  readonly burst: number;
}

/** What each caller, and each address of those who are nobody yet, may ask. */
export interface Rates {
  readonly perCaller: Rate & { readonly atOnce: number };
  /** Public requests, and requests that turn out not to be signed by anybody known. */
  readonly perAddress: Rate;
}

/** So many names are remembered; beyond that, those who have rested longest are forgotten, which forgives them. */
const MAX_NAMES = 10_000;

/**
 * Keeps callers from starving each other: a token bucket and a number of requests under way for each principal, and a
 * bucket for each address from which somebody unknown asks. A request that is refused here costs no database, no token and
 * no entry in the log.
 */
export class Gate {
  readonly #rates: Rates;
  readonly #callers: Buckets;
  readonly #addresses: Buckets;
  readonly #underWay = new Map<string, number>();

  constructor(rates: Rates, now: () => Date) {
    this.#rates = rates;
    this.#callers = new Buckets(rates.perCaller, now);
    this.#addresses = new Buckets(rates.perAddress, now);
  }

  /**
   * Counts a request of nobody known. A known caller from the same address is not held up by it.
   * @throws EscrowError `rate-limited`
   */
  takeFromAddress(address: string): void {
    if (!this.#addresses.take(address)) throw tooOften();
  }

  /** Does a known caller's work. @throws EscrowError `rate-limited` before it begins; what `work` throws goes through. */
  async runFor<T>(caller: string, work: () => Promise<T>): Promise<T> {
    const underWay = this.#underWay.get(caller) ?? 0;
    if (underWay >= this.#rates.perCaller.atOnce) {
      throw new EscrowError('rate-limited', 'The caller has too many requests under way.');
    }
    if (!this.#callers.take(caller)) throw tooOften();
    this.#underWay.set(caller, underWay + 1);
    try {
      return await work();
    } finally {
      const left = (this.#underWay.get(caller) ?? 1) - 1;
      if (left === 0) this.#underWay.delete(caller);
      else this.#underWay.set(caller, left);
    }
  }
}

function tooOften(): EscrowError {
  return new EscrowError('rate-limited', 'The caller asks too often.');
}

/** Token buckets by name. One that is full is the same as none. */
class Buckets {
  readonly #rate: Rate;
  readonly #now: () => Date;
  /** What was left when it was last taken from; the longest rested come first. */
  readonly #left = new Map<string, { readonly tokens: number; readonly atMs: number }>();

  constructor(rate: Rate, now: () => Date) {
    this.#rate = rate;
    this.#now = now;
  }

  available(name: string): number {
    const { perSecond, burst } = this.#rate;
    const last = this.#left.get(name);
    if (last === undefined) return burst;
    // a clock that is set back gives nothing, and takes nothing
    const elapsedMs = Math.max(0, this.#now().getTime() - last.atMs);
    return Math.min(burst, last.tokens + (elapsedMs * perSecond) / 1000);
  }

  take(name: string): boolean {
    const tokens = this.available(name);
    if (tokens < 1) return false;
    this.#left.delete(name);
    this.#left.set(name, { tokens: tokens - 1, atMs: this.#now().getTime() });
    const [oldest] = this.#left.keys();
    if (this.#left.size > MAX_NAMES && oldest !== undefined) this.#left.delete(oldest);
    return true;
  }
}
