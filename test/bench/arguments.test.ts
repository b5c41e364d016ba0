import { askedOf, UsageError } from './arguments.js';
import { cellsOf, nameOf } from './load/cells.js';

const KNOWN = ['sign', 'log'] as const;

test.each([
  [['sing'], /no bench "sing": there are sign, log/],
  [['--seconds', '0'], /--seconds takes a number above 0/],
  [['--seconds', '1e3'], /--seconds takes/],
  [['--rounds', '1.5'], /--rounds takes a whole number/],
  [['--scale', '2'], /--scale takes a number above 0, at most 1/],
  [['--only', 'p256,16'], /--only does not know "16"/],
  [['--fast'], /'--fast'/],
  [['--seconds'], /seconds/],
])('%j is refused with what is wrong', (argv, message) => {
  expect(() => askedOf(argv, KNOWN)).toThrow(UsageError);
  expect(() => askedOf(argv, KNOWN)).toThrow(message);
});

test('without a name everything is meant, and without words every cell', () => {
  const { names, only } = askedOf([], KNOWN);
  expect(names).toEqual(KNOWN);
  expect(cellsOf(only)).toHaveLength(3 * 2 * 2 * 3);
});

test('of a choice that words name, what they name is left, and all of the others', () => {
  const { only } = askedOf(['sign', '--only', 'p256,1,single'], KNOWN);
  expect(cellsOf(only).map(nameOf)).toEqual(['p256 single certificate 1', 'p256 single signed 1']);
});
