import fc from 'fast-check';

import { formatDuration, parseDuration } from '../../src/policy/durations.js';

describe('a duration', () => {
  test.each([
    ['PT0S', 0],
    ['PT1S', 1000],
    ['PT90M', 5_400_000],
    ['PT24H', 86_400_000],
    ['P1DT2H3M4S', 93_784_000],
    ['P7D', 604_800_000],
    ['P2W', 1_209_600_000],
  ])('%s is %d ms', (text, ms) => {
    expect(parseDuration(text)).toBe(ms);
  });

  test.each([
    '',
    'P',
    'PT',
    'P1Y',
    'P1M',
    'PT1.5S',
    'P1W1D',
    'p1d',
    'P01D',
    '-P1D',
    'PT1M1H',
    'PT1H ',
    'P1DT',
    'P99999999999999999999D',
    'P1D ',
    '7D',
  ])('%p is none', (text) => {
    expect(parseDuration(text)).toBeUndefined();
  });

  test('is read as it was written', () => {
    fc.assert(
      fc.property(fc.nat(10 ** 9), (seconds) => {
        expect(parseDuration(formatDuration(seconds * 1000))).toBe(seconds * 1000);
      }),
    );
  });
});
