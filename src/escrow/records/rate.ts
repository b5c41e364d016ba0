/** At most so many uses in any stretch of time of this length. */
export interface Rate {
  readonly uses: number;
  readonly perMs: number;
}

/** Uses that may still count, by the slice of time that they were in; oldest first. Bounded, however many uses. */
export type RecentUses = readonly { readonly slice: number; readonly uses: number }[];

/** A period is looked at in so many slices. */
const SLICES = 64;

/**
 * Takes uses at an instant: what to remember from then on, or undefined when they would be more than the rate allows.
 *
 * A use counts from when it was taken until the period after the end of its slice. So no period of the rate's length ever
 * holds more uses than it says, and a use becomes free again at most a 64th of the period (or a millisecond) late.
 */
export function takeUses(rate: Rate, recent: RecentUses, uses: number, at: Date): RecentUses | undefined {
  const counting = countingAt(rate, recent, at);
  if (total(counting) + uses > rate.uses) return undefined;
  const slice = Math.floor(at.getTime() / sliceMs(rate));
  const others = counting.filter((one) => one.slice !== slice);
  const before = counting.find((one) => one.slice === slice)?.uses ?? 0;
  return [...others, { slice, uses: before + uses }].sort((a, b) => a.slice - b.slice);
}

/** How many uses the rate leaves at an instant. */
export function usesLeft(rate: Rate, recent: RecentUses, at: Date): number {
  return Math.max(0, rate.uses - total(countingAt(rate, recent, at)));
}

/** After how many milliseconds so many uses are left, when nothing else takes them: 0 now, Infinity never. */
export function msUntilLeft(rate: Rate, recent: RecentUses, uses: number, at: Date): number {
  if (uses > rate.uses) return Infinity;
  if (uses <= usesLeft(rate, recent, at)) return 0;
  const ends = countingAt(rate, recent, at).map((one) => endOf(rate, one));
  const enough = ends.sort((a, b) => a - b).find((end) => uses <= usesLeft(rate, recent, new Date(end)));
  return (enough ?? at.getTime()) - at.getTime();
}

/** Whether `rate` never allows what `bound` does not: no more uses, in no less time. */
export function isWithin(rate: Rate, bound: Rate): boolean {
  return rate.uses <= bound.uses && rate.perMs >= bound.perMs;
}

/** A clock that went back frees nothing: what lies in the future counts. */
function countingAt(rate: Rate, recent: RecentUses, at: Date): RecentUses {
  return recent.filter((one) => endOf(rate, one) > at.getTime());
}

/** When the uses of a slice no longer count: milliseconds since the epoch. */
function endOf(rate: Rate, { slice }: RecentUses[number]): number {
  return (slice + 1) * sliceMs(rate) + rate.perMs;
}

function sliceMs({ perMs }: Rate): number {
  return Math.max(1, Math.floor(perMs / SLICES));
}

function total(recent: RecentUses): number {
  return recent.reduce((sum, { uses }) => sum + uses, 0);
}
