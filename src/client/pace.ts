import type { Rate, RecentUses } from '../escrow/rate.js';
import { takeUses } from '../escrow/rate.js';
import { TOLERANCE_MS } from './directoryInForce.js';

/**
 * Uses are counted at one instant and recorded a little later, by clocks that may differ. So each stretch of time in the
 * log is held against what the rate allows in one that is longer by the tolerance: a short one, which shows a burst, and
 * a long one, which shows what is a little too fast for long. Where the rate's own stretch is long enough, it is both.
 */
const STRETCHES_MS = [2 * TOLERANCE_MS, 11 * TOLERANCE_MS];

/** {@link takeUses} counts a use for up to a 64th longer. */
const SLICE_SHARE = 64 / 65;

/** Follows how fast a grant was used, by the times in the log. Bounded, however many uses. */
export class Pace {
  readonly #bounds: readonly Rate[];
  readonly #recent: RecentUses[];

  constructor(rate: Rate) {
    const times = new Set(STRETCHES_MS.map((ms) => Math.max(1, Math.ceil(ms / rate.perMs))));
    this.#bounds = [...times].map((n) => ({
      uses: n * rate.uses,
      perMs: Math.floor((n * rate.perMs - TOLERANCE_MS) * SLICE_SHARE),
    }));
    this.#recent = this.#bounds.map(() => []);
  }

  /** Takes note of uses recorded at this time; false when they are certainly more than the rate allows. */
  take(uses: number, at: Date): boolean {
    return this.#bounds.every((bound, which) => {
      const recent = takeUses(bound, this.#recent[which] ?? [], uses, at);
      if (recent !== undefined) this.#recent[which] = recent;
      return recent !== undefined;
    });
  }
}
