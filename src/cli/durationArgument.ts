import { parseDuration } from '../policy/durations.js';

const SHORT = /^(?:(\d{1,6})w)?(?:(\d{1,6})d)?(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,6})s)?$/;

/**
 * A duration as people type it, `30m`, `1h`, `7d`, `1h30m`, or ISO 8601, in milliseconds; undefined when it is none, or
 * no time at all.
 */
export function parseDurationArgument(text: string): number | undefined {
  const ms = parseDuration(text.toUpperCase()) ?? parseShort(text.toLowerCase());
  return ms === undefined || ms === 0 ? undefined : ms;
}

function parseShort(text: string): number | undefined {
  const parts = SHORT.exec(text);
  if (parts === null) return undefined;
  const [, weeks = '0', days = '0', hours = '0', minutes = '0', seconds = '0'] = parts;
  const inHours = (Number(weeks) * 7 + Number(days)) * 24 + Number(hours);
  return ((inHours * 60 + Number(minutes)) * 60 + Number(seconds)) * 1000;
}
