import fc from 'fast-check';

import { isoDuration, parseIsoDuration } from '../../src/client/durations.js';
import { parseDurationArgument } from '../../src/cli/durationArgument.js';
import { formatDuration, parseDuration } from '../../src/policy/durations.js';

test.each([
  ['P7D', 604_800_000],
  ['P2W', 1_209_600_000],
  ['PT1H', 3_600_000],
  ['P1DT30M', 88_200_000],
  ['PT0S', 0],
])('%s is %d ms', (text, ms) => {
  expect(parseIsoDuration(text)).toBe(ms);
});

test.each(['', 'P', 'PT', 'P1DT', 'P1M', 'P1Y', 'PT1.5H', '-PT1H', 'PT1H ', '1h', 'P99999999999999999999D'])(
  '%j is no duration',
  (text) => {
    expect(parseIsoDuration(text)).toBeUndefined();
  },
);

test('client and server read and write the same durations alike', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 10_000_000 }), (seconds) => {
      const ms = seconds * 1000;
      expect(parseDuration(isoDuration(ms))).toBe(ms);
      expect(parseIsoDuration(formatDuration(ms))).toBe(ms);
    }),
  );
});

test.each([
  ['1h', 3_600_000],
  ['30m', 1_800_000],
  ['7d', 604_800_000],
  ['1h30m', 5_400_000],
  ['2w', 1_209_600_000],
  ['PT90S', 90_000],
  ['pt1h', 3_600_000],
])('people may type %s', (text, ms) => {
  expect(parseDurationArgument(text)).toBe(ms);
});

test.each(['', '0s', '1', 'h', '1y', '30m1h', 'one hour', '-1h'])('people may not type %j', (text) => {
  expect(parseDurationArgument(text)).toBeUndefined();
});
