import type { Told } from './use.js';

export interface WithdrawalsParts {
  /** Rejects when it may not have been cancelled. */
  readonly cancel: (recovery: string, reason: string) => Promise<unknown>;
  readonly tell: (told: Told) => void;
  /** Whether requests are cancelled at all. */
  readonly withdraws: boolean;
}

/** What the log says of a request that an agent has cancelled: nobody was against it. */
export const WITHDRAWN = 'The program that asked has ended.';

/**
 * Cancels the requests that were filed here when the last program that waits for them has gone. Each is cancelled once; what is
 * being cancelled, or was, is not to be joined again.
 */
export class Withdrawals {
  readonly #filed = new Set<string>();
  /** How many wait for a request. */
  readonly #waiting = new Map<string, number>();
  readonly #begun = new Map<string, Promise<void>>();

  constructor(private readonly parts: WithdrawalsParts) {}

  /** A request was filed by this agent: only those are cancelled. */
  filed(recovery: string): void {
    this.#filed.add(recovery);
  }

  has(recovery: string): boolean {
    return this.#begun.has(recovery);
  }

  /** Somebody waits for it from now on. */
  join(recovery: string): void {
    this.#waiting.set(recovery, (this.#waiting.get(recovery) ?? 0) + 1);
  }

  /** Somebody waits for it no longer; `gone`: because who asked has ended. Resolves when it is cancelled, where it is to be. */
  async leave(recovery: string, why: 'answered' | 'gone'): Promise<void> {
    const left = (this.#waiting.get(recovery) ?? 0) - 1;
    if (left > 0) this.#waiting.set(recovery, left);
    else this.#waiting.delete(recovery);
    if (left <= 0 && why === 'gone') await this.#withdraw(recovery);
  }

  /** Cancels all that is waited for. Resolves when no cancellation is under way. */
  async close(): Promise<void> {
    for (const recovery of this.#waiting.keys()) void this.#withdraw(recovery);
    await Promise.all(this.#begun.values());
  }

  #withdraw(recovery: string): Promise<void> {
    if (!this.parts.withdraws || !this.#filed.has(recovery)) return Promise.resolve();
    let begun = this.#begun.get(recovery);
    if (begun === undefined) {
      begun = this.#cancel(recovery);
      this.#begun.set(recovery, begun);
    }
    return begun;
  }

  async #cancel(recovery: string): Promise<void> {
    const { cancel, tell } = this.parts;
    try {
      await cancel(recovery, WITHDRAWN);
      tell({
        ...{ event: 'withdrawn', recovery },
        sentence: `Nobody waits for ${recovery} any more: it was cancelled.`,
      });
    } catch (error) {
      this.#begun.delete(recovery);
      tell({
        ...{ event: 'refused', code: 'not-withdrawn', recovery },
        sentence: `Nobody waits for ${recovery} any more, and it was not cancelled (${error instanceof Error ? error.message : 'the agent failed'}).`,
        next: `escrowctl recovery show ${recovery}; where it is open: escrowctl recovery cancel ${recovery} --reason TEXT`,
      });
    }
  }
}
