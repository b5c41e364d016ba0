import fc from 'fast-check';

import type { RecentUses } from '../../../src/escrow/records/rate.js';
import { isWithin, msUntilLeft, takeUses, usesLeft } from '../../../src/escrow/records/rate.js';

const START_MS = Date.parse('2026-03-01T12:00:00.000Z');

/** What of these orders is let through, as [when, how many]. */
function taken(
  rate: { readonly uses: number; readonly perMs: number },
  orders: readonly (readonly [afterMs: number, uses: number])[],
): { readonly uses: readonly (readonly [number, number])[]; readonly recent: RecentUses } {
  let recent: RecentUses = [];
  let nowMs = START_MS;
  const uses: [number, number][] = [];
  for (const [afterMs, count] of orders) {
    nowMs += afterMs;
    const next = takeUses(rate, recent, count, new Date(nowMs));
    if (next === undefined) continue;
    recent = next;
    uses.push([nowMs, count]);
  }
  return { uses, recent };
}

const orderings = fc.array(fc.tuple(fc.integer({ min: 0, max: 30_000 }), fc.integer({ min: 1, max: 5 })), {
  maxLength: 60,
});

test('no stretch of time as long as the rate’s ever holds more uses than the rate', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 20 }),
      fc.integer({ min: 1, max: 100_000 }),
      orderings,
      (most, perMs, orders) => {
        const { uses, recent } = taken({ uses: most, perMs }, orders);
        for (const [beginMs] of uses) {
          const within = uses.filter(([atMs]) => atMs >= beginMs && atMs < beginMs + perMs);
          expect(within.reduce((sum, [, count]) => sum + count, 0)).toBeLessThanOrEqual(most);
        }
        expect(recent.length).toBeLessThanOrEqual(130);
      },
    ),
  );
});

test('a use is free again after the period and at most a 64th of it', () => {
  const rate = { uses: 2, perMs: 64_000 };
  const at = new Date(START_MS);
  const full = takeUses(rate, [], 2, at) ?? [];
  expect(usesLeft(rate, full, at)).toBe(0);
  expect(takeUses(rate, full, 1, new Date(START_MS + 63_999))).toBeUndefined();
  expect(takeUses(rate, full, 2, new Date(START_MS + 65_000))).toBeDefined();
});

test('a clock that goes back frees nothing', () => {
  const rate = { uses: 1, perMs: 60_000 };
  const used = takeUses(rate, [], 1, new Date(START_MS)) ?? [];
  expect(takeUses(rate, used, 1, new Date(START_MS - 3_600_000))).toBeUndefined();
});

test('a rate is within another only when it never allows more', () => {
  const bound = { uses: 10, perMs: 60_000 };
  expect(isWithin({ uses: 10, perMs: 60_000 }, bound)).toBe(true);
  expect(isWithin({ uses: 5, perMs: 120_000 }, bound)).toBe(true);
  // the same on average, and sixty times as much at once
  expect(isWithin({ uses: 600, perMs: 3_600_000 }, bound)).toBe(false);
  expect(isWithin({ uses: 10, perMs: 59_000 }, bound)).toBe(false);
});

test('so many uses are left after the time that is said, and not a millisecond before', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 20 }),
      fc.integer({ min: 1, max: 100_000 }),
      orderings,
      fc.integer({ min: 1, max: 25 }),
      (most, perMs, orders, wanted) => {
        const rate = { uses: most, perMs };
        const { uses, recent } = taken(rate, orders);
        const nowMs = uses.at(-1)?.[0] ?? START_MS;
        const waitMs = msUntilLeft(rate, recent, wanted, new Date(nowMs));
        const leftAfter = (ms: number): number => usesLeft(rate, recent, new Date(nowMs + ms));
        if (wanted > most) expect(waitMs).toBe(Infinity);
        else expect(leftAfter(waitMs)).toBeGreaterThanOrEqual(wanted);
        if (waitMs > 0 && waitMs !== Infinity) expect(leftAfter(waitMs - 1)).toBeLessThan(wanted);
      },
    ),
  );
});
