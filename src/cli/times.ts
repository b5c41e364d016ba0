import { UNITS } from '../escrow/records/inWords.js';

/** An instant for people, in their own zone and in UTC, and how far it is: `2026-01-31 14:05:09 CET (13:05:09 UTC, in 23 hours)`. */
export function when(instant: string, now: Date): string {
  const date = new Date(instant);
  if (Number.isNaN(date.getTime())) return instant;
  const local = localTime(date);
  // whoever reads a log or a policy beside it has UTC there
  const utc = local.endsWith(' UTC') ? '' : `${date.toISOString().slice(11, 19)} UTC, `;
  return `${local} (${utc}${distance(date, now)})`;
}

/** An instant in the zone of the reader: `2026-01-31 14:05:09 CET`. */
export function localTime(date: Date): string {
  const parts = new Intl.DateTimeFormat('en-GB', {
    year: 'numeric',
    month: '2-digit',
    day: '2-digit',
    hour: '2-digit',
    minute: '2-digit',
    second: '2-digit',
    hourCycle: 'h23',
    timeZoneName: 'short',
  }).formatToParts(date);
  const part = (type: Intl.DateTimeFormatPartTypes): string =>
    parts.find((one) => one.type === type)?.value ?? '';
  const day = `${part('year')}-${part('month')}-${part('day')}`;
  return `${day} ${part('hour')}:${part('minute')}:${part('second')} ${part('timeZoneName')}`;
}

/** `in 3 hours`, `5 minutes ago`, `just now`. */
export function distance(date: Date, now: Date): string {
  const ms = date.getTime() - now.getTime();
  const [unit, sizeMs] = UNITS.find(([, size]) => Math.abs(ms) >= size) ?? ['second', 1000];
  const count = Math.round(Math.abs(ms) / sizeMs);
  if (count === 0) return 'just now';
  const amount = `${count} ${unit}${count === 1 ? '' : 's'}`;
  return ms > 0 ? `in ${amount}` : `${amount} ago`;
}

/** By so much two clocks may differ without a word: what a server says of the time is good to a second. */
const CLOCKS_APART_MS = 2000;

/** How a clock stands to another: `20 seconds ahead of`, `2 minutes behind`; undefined where they agree. */
export function clockInWords(aheadMs: number): string | undefined {
  if (Math.abs(aheadMs) < CLOCKS_APART_MS) return undefined;
  const apart = distance(new Date(Math.abs(aheadMs)), new Date(0)).replace('in ', '');
  return aheadMs > 0 ? `${apart} ahead of` : `${apart} behind`;
}
