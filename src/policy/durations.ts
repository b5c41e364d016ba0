const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const WEEK = 7 * DAY;

const NUMBER = '(0|[1-9][0-9]{0,8})';
const WEEKS = new RegExp(`^P${NUMBER}W$`);
const DAYS_AND_TIME = new RegExp(
  `^P(?=[0-9T])(?:${NUMBER}D)?(?:T(?=[0-9])(?:${NUMBER}H)?(?:${NUMBER}M)?(?:${NUMBER}S)?)?$`,
);

/**
 * The milliseconds of an ISO 8601 duration of weeks, or of days, hours, minutes and seconds: `P2W`, `P7D`, `PT24H`,
 * `P1DT30M`. Years and months, which differ in length, and fractions are none; a day has 24 hours. Undefined for
 * everything else.
 */
export function parseDuration(text: string): number | undefined {
  const weeks = WEEKS.exec(text);
  if (weeks !== null) return Number(weeks[1]) * WEEK;
  const parts = DAYS_AND_TIME.exec(text);
  if (parts === null) return undefined;
  const [, days = '0', hours = '0', minutes = '0', seconds = '0'] = parts;
  return Number(days) * DAY + Number(hours) * HOUR + Number(minutes) * MINUTE + Number(seconds) * SECOND;
}

/** The shortest form that {@link parseDuration} reads as these milliseconds, rounded down to seconds: `P1DT30M`. */
export function formatDuration(ms: number): string {
  const days = Math.floor(ms / DAY);
  const time = (
    [
      ['H', HOUR, DAY],
      ['M', MINUTE, HOUR],
      ['S', SECOND, MINUTE],
    ] as const
  )
    .map(([unit, size, next]) => [Math.floor((ms % next) / size), unit] as const)
    .filter(([count]) => count > 0)
    .map(([count, unit]) => `${count}${unit}`)
    .join('');
  if (days === 0 && time === '') return 'PT0S';
  return `P${days === 0 ? '' : `${days}D`}${time === '' ? '' : `T${time}`}`;
}
