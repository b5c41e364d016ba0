/** The first pause after a failure, and the longest, in milliseconds. */
export interface BackOff {
  readonly firstMs: number;
  readonly longestMs: number;
}

/**
 * How long to wait after so many failures in a row, in milliseconds: doubled each time up to the longest, and between half and
 * all of that by chance, so that those who failed together do not all come back together.
 * @param random a number from 0 up to 1
 */
export function backOffMs(failures: number, { firstMs, longestMs }: BackOff, random = Math.random): number {
  const most = Math.min(firstMs * 2 ** Math.min(failures - 1, 30), longestMs);
  return Math.ceil((most / 2) * (1 + random()));
}
