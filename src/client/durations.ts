const UNITS_MS = { W: 604_800_000, D: 86_400_000, H: 3_600_000, M: 60_000, S: 1_000 } as const;

const ISO =
  /^P(?=\d|T\d)(?:(?<weeks>\d+)W)?(?:(?<days>\d+)D)?(?:T(?=\d)(?:(?<hours>\d+)H)?(?:(?<minutes>\d+)M)?(?:(?<seconds>\d+)S)?)?$/;

/**
 * Milliseconds of an ISO 8601 duration of weeks, days, hours, minutes and seconds in whole numbers; undefined when it
 * is none. Months and years are refused: they have no fixed length.
 */
export function parseIsoDuration(text: string): number | undefined {
  const groups = ISO.exec(text)?.groups;
  if (groups === undefined) return undefined;
  const part = (name: string, unitMs: number): number => Number(groups[name] ?? 0) * unitMs;
  const ms =
    part('weeks', UNITS_MS.W) +
    part('days', UNITS_MS.D) +
    part('hours', UNITS_MS.H) +
    part('minutes', UNITS_MS.M) +
    part('seconds', UNITS_MS.S);
  return Number.isSafeInteger(ms) ? ms : undefined;
}

/** ISO 8601 of a whole number of seconds, e.g. `P7D`, `PT1H30M`; `PT0S` for none. */
export function isoDuration(ms: number): string {
  if (!Number.isSafeInteger(ms) || ms < 0 || ms % UNITS_MS.S !== 0) {
    throw new RangeError('a duration is a whole number of seconds');
  }
  const days = Math.floor(ms / UNITS_MS.D);
  const hours = Math.floor((ms % UNITS_MS.D) / UNITS_MS.H);
  const minutes = Math.floor((ms % UNITS_MS.H) / UNITS_MS.M);
  const seconds = (ms % UNITS_MS.M) / UNITS_MS.S;
  const date = days > 0 ? `${days}D` : '';
  const time = [
    hours > 0 ? `${hours}H` : '',
    minutes > 0 ? `${minutes}M` : '',
    seconds > 0 ? `${seconds}S` : '',
  ].join('');
  if (date === '' && time === '') return 'PT0S';
  return `P${date}${time === '' ? '' : `T${time}`}`;
}
