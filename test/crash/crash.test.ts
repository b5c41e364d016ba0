import { crash, faultsOf, type CrashOrder } from './scenario.js';
import { LIMITS_MS } from '../support/limits.js';

jest.setTimeout(LIMITS_MS.system);

/* The short form; the full one is `npm run crash`. */
const ORDER = { clients: 8, progress: () => undefined } as const satisfies Partial<CrashOrder>;

test('what was acknowledged stands in the log, however often the daemon is killed and PostgreSQL stopped', async () => {
  const report = await crash({ ...ORDER, operations: 250, kills: 4, stops: 2, journal: 'honest' });
  expect(faultsOf(report)).toEqual([]);
  expect(report).toMatchObject({ kills: 4, stops: 2, missing: 0, open: 0 });
  expect(report.acknowledged).toBeGreaterThanOrEqual(250);
  // the kills did come in the middle
  expect(report.interrupted + report.unanswered).toBeGreaterThan(0);
});

test('a daemon that answers before it writes loses what it acknowledged, and that is seen', async () => {
  const report = await crash({ ...ORDER, operations: 100, kills: 1, stops: 0, journal: 'hasty' });
  expect(report.missing).toBeGreaterThan(0);
  expect(faultsOf(report).join()).toMatch(/acknowledged operations are not in the log/);
});
