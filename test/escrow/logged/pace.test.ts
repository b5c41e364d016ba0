import fc from 'fast-check';

import { TOLERANCE_MS } from '../../../src/audit/directoryInForce.js';
import { Pace } from '../../../src/escrow/logged/pace.js';
import type { RecentUses } from '../../../src/escrow/records/rate.js';
import { takeUses } from '../../../src/escrow/records/rate.js';

const HOUR = 3_600_000;
const rates = fc.record({
  uses: fc.integer({ min: 1, max: 50 }),
  perMs: fc.constantFrom(1, 500, 1000, 60_000, TOLERANCE_MS, 2 * TOLERANCE_MS, HOUR, 24 * HOUR),
});

describe('the pace of a grant', () => {
  test('is never refused when the daemon kept to the rate, however late it recorded uses within the tolerance', () => {
    const steps = fc.array(
      fc.record({
        afterMs: fc.nat(2 * HOUR),
        uses: fc.integer({ min: 1, max: 9 }),
        lateMs: fc.nat(TOLERANCE_MS - 1),
      }),
      { maxLength: 200 },
    );
    fc.assert(
      fc.property(rates, steps, fc.boolean(), (rate, all, isFast) => {
        const pace = new Pace(rate, TOLERANCE_MS);
        let recent: RecentUses = [];
        let atMs = Date.UTC(2026, 0);
        for (const { afterMs, uses, lateMs } of all) {
          // close together, so that the rate is used up
          atMs += isFast ? afterMs % rate.perMs : afterMs;
          const next = takeUses(rate, recent, uses, new Date(atMs));
          if (next === undefined) continue;
          recent = next;
          expect(pace.take(uses, new Date(atMs + lateMs))).toBe(true);
        }
      }),
      { numRuns: 300 },
    );
  });

  test.each([
    ['an hour', { uses: 10, perMs: HOUR }, 11, 0],
    ['a day', { uses: 10, perMs: 24 * HOUR }, 11, 2 * HOUR],
    ['ten minutes', { uses: 10, perMs: 2 * TOLERANCE_MS }, 11, 0],
    ['a minute, twice as fast for an hour', { uses: 10, perMs: 60_000 }, 1200, 3000],
    ['a second, half as fast again for an hour', { uses: 1, perMs: 1000 }, 5400, 667],
  ])('is refused when it is too fast for a rate per %s', (_per, rate, uses, everyMs) => {
    const pace = new Pace(rate, TOLERANCE_MS);
    const taken = Array.from({ length: uses }, (_, at) => pace.take(1, new Date(at * everyMs)));
    expect(taken).toContain(false);
    expect(taken.slice(0, rate.uses)).not.toContain(false);
  });
});
