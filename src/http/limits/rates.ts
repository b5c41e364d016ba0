import { EscrowError } from '../../escrow/records/errors.js';

/** How often something may be done: `perSecond` on average, `burst` at once after a rest. */
export interface Rate {
  readonly perSecond: number;
  readonly burst: number;
}

/** What each caller, and each address of those who are nobody yet, may ask. */
export interface Rates {
  readonly perCaller: Rate & { readonly atOnce: number };
  /** Public requests and those that name no known key; and as many again that name one, until they have proven it. */
  readonly perAddress: Rate;
  /** Bytes of bodies, of all together who are nobody yet: they are let pass unread, and beyond this the connection is cut. */
  readonly unknownBytes: Rate;
}

/** So many names are remembered; beyond that, those who have rested longest are forgotten, which forgives them. */
const MAX_NAMES = 10_000;

/**
 * Keeps callers from starving each other: a token bucket and a number of requests under way for each principal, two buckets
 * for each address from which somebody unknown asks, and one of bytes for all of those. A request that is refused here costs
 * no database, no token, no signature that is verified and no entry in the log.
 */
export class Gate {
  #rates: Rates;
  readonly #callers: Buckets;
  readonly #strangers: Buckets;
  readonly #unproven: Buckets;
  readonly #unknownBytes: Buckets;
  readonly #underWay = new Map<string, number>();

  constructor(rates: Rates, now: () => Date) {
    this.#rates = rates;
    this.#callers = new Buckets(rates.perCaller, now);
    this.#strangers = new Buckets(rates.perAddress, now);
    this.#unproven = new Buckets(rates.perAddress, now);
    this.#unknownBytes = new Buckets(rates.unknownBytes, now);
  }

  /** Counts by these rates from now on; what was taken stays taken. */
  change(rates: Rates): void {
    this.#rates = rates;
    this.#callers.rate = rates.perCaller;
    this.#strangers.rate = rates.perAddress;
    this.#unproven.rate = rates.perAddress;
    this.#unknownBytes.rate = rates.unknownBytes;
  }

  /**
   * Counts a request of nobody known: a public one (`stranger`), or one that names nobody (`stranger`) or somebody known
   * (`unproven`) and has yet to prove it. Those who name no known key cannot hold up those who do.
   *
   * @returns how to take it back, once the caller is proven
   * @throws AddressTooOften
   */
  takeFromAddress(address: string, as: 'stranger' | 'unproven'): () => void {
    const buckets = as === 'stranger' ? this.#strangers : this.#unproven;
    if (!buckets.take(address)) throw new AddressTooOften(address);
    return () => {
      buckets.give(address);
    };
  }

  /** Whether so many bytes of somebody unknown may still pass. */
  letsPass(bytes: number): boolean {
    return this.#unknownBytes.take('all', bytes);
  }

  /** Does a known caller's work. @throws EscrowError `rate-limited` before it begins; what `work` throws goes through. */
  async runFor<T>(caller: string, work: () => Promise<T>): Promise<T> {
    const underWay = this.#underWay.get(caller) ?? 0;
    if (underWay >= this.#rates.perCaller.atOnce) {
      throw new EscrowError('rate-limited', 'The caller has too many requests under way.');
    }
    if (!this.#callers.take(caller)) throw new EscrowError('rate-limited', 'The caller asks too often.');
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

/** More requests of nobody known than one address may send. */
export class AddressTooOften extends EscrowError {
  constructor(readonly address: string) {
    super('rate-limited', 'Too many requests of nobody known come from this address.');
  }
}

/** Token buckets by name. One that is full is the same as none. */
class Buckets {
  rate: Rate;
  readonly #now: () => Date;
  /** What was left when it was last taken from; the longest rested come first. */
  readonly #left = new Map<string, { readonly tokens: number; readonly atMs: number }>();

  constructor(rate: Rate, now: () => Date) {
    this.rate = rate;
    this.#now = now;
  }

  take(name: string, count = 1): boolean {
    const tokens = this.#available(name);
    if (tokens < count) return false;
    this.#left.delete(name);
    this.#left.set(name, { tokens: tokens - count, atMs: this.#now().getTime() });
    const [oldest] = this.#left.keys();
    if (this.#left.size > MAX_NAMES && oldest !== undefined) this.#left.delete(oldest);
    return true;
  }

  /** Takes back what was taken. A bucket that is full again is forgotten. */
  give(name: string): void {
    if (!this.#left.has(name)) return;
    const tokens = this.#available(name) + 1;
    if (tokens >= this.rate.burst) this.#left.delete(name);
    else this.#left.set(name, { tokens, atMs: this.#now().getTime() });
  }

  #available(name: string): number {
    const { perSecond, burst } = this.rate;
    const last = this.#left.get(name);
    if (last === undefined) return burst;
    // a clock that is set back gives nothing, and takes nothing
    const elapsedMs = Math.max(0, this.#now().getTime() - last.atMs);
    return Math.min(burst, last.tokens + (elapsedMs * perSecond) / 1000);
  }
}
