import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { UsageError } from './arguments.js';
import { drawCharts } from './chart.js';
import type { Target } from './findings.js';
import type { Cell } from './load/cells.js';
import { findingsOf, type CellRound, type KeyRound } from './load/signFindings.js';

const CELL: Cell = { key: 'p256', size: 'single', caller: 'certificate', clients: 32 };
const ONE: Cell = { ...CELL, clients: 1 };

/** A round in which a bare server answers 1,000 requests a second, each in a millisecond. */
function round(cell: Cell, ours: { readonly perSecond?: number; readonly p50Ms?: number }): CellRound {
  const load = { requests: 1000, requestsPerSecond: 1000, p50Ms: 1, p99Ms: 2 };
  return {
    cell,
    bare: load,
    ours: {
      ...load,
      requestsPerSecond: ours.perSecond ?? 500,
      p50Ms: ours.p50Ms ?? 1,
      nodeMicros: 500,
      postgresMicros: 100,
      nodeBytes: 2 ** 27,
      postgresBytes: 2 ** 26,
    },
  };
}

const ALONE: KeyRound = { key: 'p256', one: 5000, two: 10_000, commits: { p50Ms: 1, p99Ms: 3 } };

function judged(cells: readonly CellRound[]): readonly Target[] {
  return findingsOf([ALONE], cells).targets;
}

test.each([
  [410, true],
  [390, false],
])('%i of 1,000 of a bare server, asked 0.4: met is %s', (perSecond, met) => {
  const [ratio] = judged([round(CELL, { perSecond })]);
  expect(ratio).toMatchObject({
    met,
    what: expect.stringMatching(/32 clients, times a bare server/) as string,
  });
});

test('a round that something else has slowed down changes no median', () => {
  const rounds = [450, 20, 430].map((perSecond) => round(CELL, { perSecond }));
  expect(judged(rounds)[0]).toMatchObject({ met: true });
});

test.each([
  [2.9, true],
  [3.1, false],
])('one client after %d ms, where a bare server and two commits take 2: met is %s', (p50Ms, met) => {
  expect(judged([round(ONE, { p50Ms })])).toMatchObject([{ met }]);
});

test('what was not measured is not judged', () => {
  expect(judged([round({ ...CELL, clients: 8 }, {})])).toEqual([]);
});

test('a chart has a bar for each server, as long as what it answers, and nothing is drawn of other files', () => {
  const directory = mkdtempSync(join(tmpdir(), 'escrowd-bench-'));
  try {
    const machine = { processor: 'a & b', cores: 2, node: 'v20', at: '2026-01-01T00:00:00Z' };
    const from = join(directory, 'sign.json');
    writeFileSync(from, JSON.stringify([{ ...findingsOf([ALONE], [round(CELL, {})]), machine }]));
    const [chart = ''] = drawCharts(from, directory);
    const svg = readFileSync(chart, 'utf8');
    const widths = [...svg.matchAll(/width="([\d.]+)" height="11"/g)].map(([, width]) => Number(width));
    expect(widths).toHaveLength(2);
    expect((widths[0] ?? NaN) / (widths[1] ?? NaN)).toBeCloseTo(0.5, 1);
    expect(svg).toContain('a &amp; b');
    writeFileSync(from, '[{"bench":"sign"}]');
    expect(() => drawCharts(from, directory)).toThrow(UsageError);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});
