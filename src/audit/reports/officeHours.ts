/** When people are at work: on some days of the week, from one minute of the day up to, and without, another, in a time zone. */
export interface OfficeHours {
  /** 0: Sunday. */
  readonly days: ReadonlySet<number>;
  readonly fromMinute: number;
  readonly toMinute: number;
  /** IANA name. */
  readonly zone: string;
}

const DAYS = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'] as const;

/**
 * `08:00-18:00`, from Monday to Friday, or with other days in front: `mon-sat 06:00-22:00`, `sun-thu 08:00-17:00`. Undefined
 * when it is neither.
 */
export function parseOfficeHours(text: string, zone: string): OfficeHours | undefined {
  const found = /^(?:([a-z]{3})-([a-z]{3}) )?(\d{2}):(\d{2})-(\d{2}):(\d{2})$/.exec(
    text.trim().toLowerCase(),
  );
  if (found === null) return undefined;
  const [, first = 'mon', last = 'fri', ...times] = found;
  const [fromDay, toDay] = [first, last].map((day) => DAYS.findIndex((one) => one === day));
  const [fromHour = 0, fromMin = 0, toHour = 0, toMin = 0] = times.map(Number);
  const [fromMinute, toMinute] = [fromHour * 60 + fromMin, toHour * 60 + toMin];
  const isTime = fromMin < 60 && toMin < 60 && toMinute <= 24 * 60 && fromMinute < toMinute;
  if (fromDay === undefined || toDay === undefined || fromDay < 0 || toDay < 0 || !isTime) return undefined;
  const count = ((toDay - fromDay + 7) % 7) + 1;
  const days = new Set(Array.from({ length: count }, (_, at) => (fromDay + at) % 7));
  return { days, fromMinute, toMinute, zone };
}

/** Whether an instant is in them, by the clocks of their zone. */
export function isInOfficeHours({ days, fromMinute, toMinute, zone }: OfficeHours, instant: string): boolean {
  const { weekday, minute } = localTimeOf(instant, zone);
  return days.has(weekday) && minute >= fromMinute && minute < toMinute;
}

/** The day of the week (0: Sunday) and the minute of the day in a zone. */
function localTimeOf(instant: string, zone: string): { readonly weekday: number; readonly minute: number } {
  const parts = clockOf(zone).formatToParts(new Date(instant));
  const part = (type: Intl.DateTimeFormatPartTypes): string =>
    parts.find((one) => one.type === type)?.value ?? '';
  const weekday = DAYS.findIndex((day) => day === part('weekday').toLowerCase());
  return { weekday, minute: Number(part('hour')) * 60 + Number(part('minute')) };
}

/** Costly to make, and asked of every use. */
const clocks = new Map<string, Intl.DateTimeFormat>();

function clockOf(zone: string): Intl.DateTimeFormat {
  const known = clocks.get(zone);
  if (known !== undefined) return known;
  const options = { weekday: 'short', hour: '2-digit', minute: '2-digit', hourCycle: 'h23' } as const;
  const clock = new Intl.DateTimeFormat('en-US', { ...options, timeZone: zone });
  clocks.set(zone, clock);
  return clock;
}
