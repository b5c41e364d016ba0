import { type Rate, type RecentUses, takeUses } from '../records/rate.js';

/** {@link takeUses} counts a use for up to a 64th longer. */
const SLICE_SHARE = 64 / 65;

/**
 * Follows how fast a grant was used, by the times in the log. Bounded, however many uses.
 *
 * Uses are counted at one instant and recorded a little later, by clocks that may differ. So each stretch of time in the
 * log is held against what the rate allows in one that is longer by the tolerance: a short one, which shows a burst, and
 * a long one, which shows what is a little too fast for long. Where the rate's own stretch is long enough, it is both.
 */
export class Pace {
  readonly #bounds: readonly Rate[];
  readonly #recent: RecentUses[];

  /**
   * @param toleranceMs how far the instants may be apart at which a use is counted and recorded
   * @param recent what {@link save} gave for the same rate and tolerance
   */
  constructor(rate: Rate, toleranceMs: number, recent: readonly RecentUses[] = []) {
    const stretchesMs = [2 * toleranceMs, 11 * toleranceMs];
    const times = new Set(stretchesMs.map((ms) => Math.max(1, Math.ceil(ms / rate.perMs))));
    this.#bounds = [...times].map((n) => ({
      uses: n * rate.uses,
      perMs: Math.max(1, Math.floor((n * rate.perMs - toleranceMs) * SLICE_SHARE)),
    }));
    this.#recent = this.#bounds.map((_, which) => recent[which] ?? []);
  }

  /** What it remembers of the uses. */
  save(): readonly RecentUses[] {
    return [...this.#recent];
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
