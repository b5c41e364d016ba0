import { isInOfficeHours, parseOfficeHours } from '../../../src/audit/reports/officeHours.js';

test.each([
  ['in them', '08:00-18:00', 'UTC', '2026-11-30T08:00:00.000Z', true],
  ['before them', '08:00-18:00', 'UTC', '2026-11-30T07:59:59.999Z', false],
  ['when they end', '08:00-18:00', 'UTC', '2026-11-30T18:00:00.000Z', false],
  ['on a Saturday', '08:00-18:00', 'UTC', '2026-11-28T12:00:00.000Z', false],
  ['on a Saturday that is worked', 'mon-sat 08:00-18:00', 'UTC', '2026-11-28T12:00:00.000Z', true],
  [
    'on a Sunday of a week that begins with it',
    'sun-thu 08:00-17:00',
    'UTC',
    '2026-11-29T12:00:00.000Z',
    true,
  ],
  ['on the Friday of such a week', 'sun-thu 08:00-17:00', 'UTC', '2026-11-27T12:00:00.000Z', false],
  ['over the end of the week', 'sat-mon 08:00-17:00', 'UTC', '2026-11-29T12:00:00.000Z', true],
  ['in winter time', '08:00-18:00', 'Europe/Berlin', '2026-11-30T07:00:00.000Z', true],
  ['at the same instant of summer time', '08:00-18:00', 'Europe/Berlin', '2026-06-30T06:00:00.000Z', true],
  ['an hour before, in winter time', '08:00-18:00', 'Europe/Berlin', '2026-11-30T06:00:00.000Z', false],
  ['on another day than in UTC', '08:00-18:00', 'Pacific/Auckland', '2026-11-29T20:00:00.000Z', true],
  ['up to midnight', 'mon-sun 20:00-24:00', 'UTC', '2026-11-30T23:59:00.000Z', true],
  ['at midnight', 'mon-sun 00:00-06:00', 'UTC', '2026-11-30T00:00:00.000Z', true],
])('%s', (_when, text, zone, instant, isIn) => {
  const hours = parseOfficeHours(text, zone);
  expect(hours === undefined ? undefined : isInOfficeHours(hours, instant)).toBe(isIn);
});

test.each(['', '8-18', '08:00-08:00', '18:00-08:00', 'xyz-fri 08:00-18:00', '08:60-18:00', '08:00-24:01'])(
  '%j are no hours',
  (text) => {
    expect(parseOfficeHours(text, 'UTC')).toBeUndefined();
  },
);
