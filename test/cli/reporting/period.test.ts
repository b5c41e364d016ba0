import { isZone, periodOf } from '../../../src/cli/reporting/period.js';
import { UsageError } from '../../../src/cli/failures.js';

const now = new Date('2026-11-30T12:00:00.000Z');
const of = (from: string | undefined, to: string | undefined, zone = 'UTC') =>
  periodOf({ from, to }, { zone, now });

test.each([
  ['a year', '2026', '2026', 'UTC', '2026-01-01T00:00:00.000Z', '2027-01-01T00:00:00.000Z'],
  ['a month', '2026-11', '2026-11', 'UTC', '2026-11-01T00:00:00.000Z', '2026-12-01T00:00:00.000Z'],
  [
    'the last month of a year',
    '2025-12',
    '2025-12',
    'UTC',
    '2025-12-01T00:00:00.000Z',
    '2026-01-01T00:00:00.000Z',
  ],
  ['a day', '2026-11-30', '2026-11-30', 'UTC', '2026-11-30T00:00:00.000Z', '2026-12-01T00:00:00.000Z'],
  ['a leap day', '2028-02-29', '2028-02-29', 'UTC', '2028-02-29T00:00:00.000Z', '2028-03-01T00:00:00.000Z'],
  ['a week', '7d', undefined, 'UTC', '2026-11-23T12:00:00.000Z', undefined],
  [
    'instants',
    '2026-11-30T10:00:00Z',
    '2026-11-30T12:00:00+01:00',
    'UTC',
    '2026-11-30T10:00:00.000Z',
    '2026-11-30T11:00:00.000Z',
  ],
  [
    'a day in Berlin',
    '2026-11-30',
    '2026-11-30',
    'Europe/Berlin',
    '2026-11-29T23:00:00.000Z',
    '2026-11-30T23:00:00.000Z',
  ],
  [
    'a day of 23 hours',
    '2026-03-29',
    '2026-03-29',
    'Europe/Berlin',
    '2026-03-28T23:00:00.000Z',
    '2026-03-29T22:00:00.000Z',
  ],
  [
    'a day of 25 hours',
    '2026-10-25',
    '2026-10-25',
    'Europe/Berlin',
    '2026-10-24T22:00:00.000Z',
    '2026-10-25T23:00:00.000Z',
  ],
  [
    'a day in Auckland',
    '2026-11-30',
    '2026-11-30',
    'Pacific/Auckland',
    '2026-11-29T11:00:00.000Z',
    '2026-11-30T11:00:00.000Z',
  ],
])('%s', (_what, from, to, zone, begins, ends) => {
  expect(of(from, to, zone)).toEqual({ from: begins, to: ends });
});

test('no period is the whole log', () => {
  expect(of(undefined, undefined)).toEqual({ from: undefined, to: undefined });
});

test.each([
  ['2026-13', undefined],
  ['2026-02-30', undefined],
  ['yesterday', undefined],
  ['2026-11-30T25:00:00Z', undefined],
  [undefined, '30.11.2026'],
  ['2026-11-30', '2026-11-29'],
])('from %s to %s is refused', (from, to) => {
  expect(() => of(from, to)).toThrow(UsageError);
});

test('a zone is one that the platform knows', () => {
  expect(['UTC', 'Europe/Berlin', 'Mars/Olympus', ''].map(isZone)).toEqual([true, true, false, false]);
});
