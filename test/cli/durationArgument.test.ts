import { parseDurationArgument } from '../../src/cli/durationArgument.js';

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
