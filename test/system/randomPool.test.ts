import { randomPool } from '../../src/system/randomPool.js';

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

test('nothing is given twice, over many draws and at any length', () => {
  const random = randomPool();
  const lengths = Array.from({ length: 5_000 }, (_, at) => 8 + (at % 25));
  const given = lengths.map((length) => random(length));
  expect(given.map(({ length }) => length)).toEqual(lengths);
  expect(new Set(given.map(hex)).size).toBe(given.length);
  expect(given.every((bytes) => bytes.some((byte) => byte !== 0))).toBe(true);
});

test('more than is drawn at once is given as well', () => {
  const random = randomPool();
  const [one, other] = [random(10_000), random(10_000)];
  expect([one.length, hex(one) === hex(other)]).toEqual([10_000, false]);
});

test('what was given is the taker’s own: the next does not change it, and it does not change the next', () => {
  const random = randomPool();
  const first = random(16);
  const before = hex(first);
  const second = random(16);
  expect(hex(first)).toBe(before);
  first.fill(0);
  expect(hex(second)).not.toBe('00'.repeat(16));
});
