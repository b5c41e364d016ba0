/** What was measured of one thing, once in each round. */
export interface Series {
  readonly median: number;
  readonly least: number;
  readonly most: number;
}

/** @throws Error when there is no value */
export function seriesOf(values: readonly number[]): Series {
  const sorted = [...values].sort((a, b) => a - b);
  const [least] = sorted;
  const most = sorted.at(-1);
  const [low, high] = [
    sorted[Math.floor((sorted.length - 1) / 2)],
    sorted[Math.ceil((sorted.length - 1) / 2)],
  ];
  if (least === undefined || most === undefined || low === undefined || high === undefined)
    throw new Error('nothing was measured');
  return { median: (low + high) / 2, least, most };
}

/** The median of each of several members over the rounds. */
export function mediansOf<Name extends string>(
  rounds: readonly Readonly<Record<Name, number>>[],
  names: readonly Name[],
): Readonly<Record<Name, Series>> {
  return Object.fromEntries(
    names.map((name) => [name, seriesOf(rounds.map((round) => round[name]))]),
  ) as Record<Name, Series>;
}
