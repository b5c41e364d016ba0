import type { Period } from '../../audit/reports/reading.js';
import { parseDurationArgument } from '../durationArgument.js';
import { UsageError } from '../failures.js';

const MONTH = /^(\d{4})(?:-(\d{2}))?$/;
const DAY = /^(\d{4})-(\d{2})-(\d{2})$/;
const INSTANT = /^\d{4}-\d{2}-\d{2}T[\d:.]+(?:Z|[+-]\d{2}:\d{2})$/;

/**
 * The period from the beginning of `from` to the end of `to`, which are each a year (`2026`), a month (`2026-11`), a day
 * (`2026-11-30`), an instant (`2026-11-30T12:00:00Z`), or how long ago (`7d`): so `2026-11` to `2026-11` is November. Years, months
 * and days are those of the zone.
 *
 * @throws UsageError
 */
export function periodOf(
  given: { readonly from: string | undefined; readonly to: string | undefined },
  { zone, now }: { readonly zone: string; readonly now: Date },
): Period {
  const from = given.from === undefined ? undefined : spanOf('from', given.from, zone, now).begins;
  const to = given.to === undefined ? undefined : spanOf('to', given.to, zone, now).ends;
  if (from !== undefined && to !== undefined && from >= to)
    throw new UsageError('the period ends before it begins', 'give --from first, and --to after it');
  return { from: from?.toISOString(), to: to?.toISOString() };
}

/** Whether there is such a time zone. */
export function isZone(zone: string): boolean {
  try {
    new Intl.DateTimeFormat('en', { timeZone: zone });
    return true;
  } catch {
    return false;
  }
}

interface Span {
  readonly begins: Date;
  /** The first instant behind it. */
  readonly ends: Date;
}

function spanOf(name: 'from' | 'to', text: string, zone: string, now: Date): Span {
  const day = DAY.exec(text);
  const month = MONTH.exec(text);
  const agoMs = parseDurationArgument(text);
  const span =
    calendarSpan(day ?? month, zone) ??
    (agoMs === undefined ? undefined : atInstant(new Date(now.getTime() - agoMs))) ??
    (INSTANT.test(text) ? atInstant(new Date(text)) : undefined);
  if (span === undefined || Number.isNaN(span.begins.getTime())) {
    throw new UsageError(
      `--${name} ${text} is not a time`,
      'write 2026, 2026-11, 2026-11-30, 2026-11-30T12:00:00Z, or 7d for 7 days ago',
    );
  }
  return span;
}

function atInstant(instant: Date): Span {
  return { begins: instant, ends: instant };
}

/** A year, a month or a day, of which the calendar has one. */
function calendarSpan(found: RegExpExecArray | null, zone: string): Span | undefined {
  if (found === null) return undefined;
  const [year = 0, month, day] = found.slice(1).map(Number);
  const isMonth = found[2] !== undefined;
  const isDay = found[3] !== undefined;
  const [firstMonth, firstDay] = [isMonth ? (month ?? 1) - 1 : 0, isDay ? (day ?? 1) : 1];
  const first = Date.UTC(year, firstMonth, firstDay);
  const isThere = new Date(first).getUTCMonth() === firstMonth;
  if (!isThere) return { begins: new Date(NaN), ends: new Date(NaN) };
  const [lastMonth, lastDay] = isDay
    ? [firstMonth, firstDay + 1]
    : [isMonth ? firstMonth + 1 : firstMonth + 12, 1];
  const next = Date.UTC(year, lastMonth, lastDay);
  return { begins: midnightIn(zone, first), ends: midnightIn(zone, next) };
}

/** The instant at which the clocks of a zone show this time, given as if it were UTC. */
function midnightIn(zone: string, wallMs: number): Date {
  // twice: the first guess may be on the other side of a change of the clocks
  let guess = wallMs;
  for (let turn = 0; turn < 2; turn += 1) guess = wallMs - offsetMs(zone, guess);
  return new Date(guess);
}

function offsetMs(zone: string, atMs: number): number {
  const parts = new Intl.DateTimeFormat('en-US', {
    timeZone: zone,
    hourCycle: 'h23',
    year: 'numeric',
    month: 'numeric',
    day: 'numeric',
    hour: 'numeric',
    minute: 'numeric',
    second: 'numeric',
  }).formatToParts(new Date(atMs));
  const part = (type: Intl.DateTimeFormatPartTypes): number =>
    Number(parts.find((one) => one.type === type)?.value ?? NaN);
  const wall = Date.UTC(
    part('year'),
    part('month') - 1,
    part('day'),
    part('hour'),
    part('minute'),
    part('second'),
  );
  return wall - Math.floor(atMs / 1000) * 1000;
}
