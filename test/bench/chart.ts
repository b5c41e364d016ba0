import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { UsageError } from './arguments.js';

/** Where charts lie. */
export const CHARTS = join('docs', 'bench');

const series = z.object({ median: z.number(), least: z.number(), most: z.number() });
const cellFigure = z.object({
  cell: z.object({ key: z.string(), size: z.string(), caller: z.string(), clients: z.number() }),
  signaturesPerSecond: series,
  bare: z.object({ signaturesPerSecond: series }),
});
const keyFigure = z.object({ key: z.string(), two: series });
const findings = z.array(
  z.object({
    bench: z.string(),
    figures: z.array(z.unknown()),
    machine: z.object({ processor: z.string(), cores: z.number(), node: z.string(), at: z.string() }),
  }),
);

/** Two bars of a row: ours, and the bare server's. */
interface Row {
  readonly name: string;
  readonly bars: readonly {
    readonly of: 'escrowd' | 'bare server';
    readonly value: number;
    readonly least: number;
    readonly most: number;
  }[];
}

/**
 * Draws the signatures of each key that stand in a file of `--json`, as `sign-KEY.svg`. Returns the files.
 * @throws UsageError when there is nothing in the file to draw
 */
export function drawCharts(file: string, directory: string): readonly string[] {
  const sign = readFindings(file).find(({ bench }) => bench === 'sign');
  if (sign === undefined) throw new UsageError(`${file} has no figures of signatures`);
  const cells = sign.figures.flatMap((each) => cellFigure.safeParse(each).data ?? []);
  const keys = sign.figures.flatMap((each) => keyFigure.safeParse(each).data ?? []);
  mkdirSync(directory, { recursive: true });
  const { processor, cores, node, at } = sign.machine;
  const machine = `${processor}, ${cores} cores, Node ${node}, SoftHSM, ${at.slice(0, 10)}`;
  return keys.map(({ key, two }) => {
    const rows = cells.filter(({ cell }) => cell.key === key).map(rowOf);
    const path = join(directory, `sign-${key}.svg`);
    writeFileSync(path, svgOf({ title: `Signatures a second, ${key}`, machine, rows, rule: two.median }));
    return path;
  });
}

function readFindings(file: string): z.infer<typeof findings> {
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(file, 'utf8'));
  } catch (cause) {
    throw new UsageError(`${file} cannot be read as JSON`, { cause });
  }
  const read = findings.safeParse(value);
  if (!read.success) throw new UsageError(`${file} was not written by --json`);
  return read.data;
}

function rowOf({ cell, signaturesPerSecond, bare }: z.infer<typeof cellFigure>): Row {
  const by = cell.caller === 'certificate' ? 'certificate' : 'signed request';
  const { median: value, ...range } = signaturesPerSecond;
  const { median: theirs, ...theirRange } = bare.signaturesPerSecond;
  return {
    name: `${cell.size}, ${by}, ${cell.clients}`,
    bars: [
      { of: 'escrowd', value, ...range },
      { of: 'bare server', value: theirs, ...theirRange },
    ],
  };
}

const WIDTH = 860;
const LEFT = 220;
const RIGHT = 90;
const TOP = 86;
const BAR = 11;
const ROW = 34;
const COLORS = { escrowd: '#1f5fa8', 'bare server': '#b9c2cc' } as const;

/** Bars to the right, with the least and most of a round as a thin line; the token alone as a dashed line from top to bottom. */
function svgOf(chart: {
  readonly title: string;
  readonly machine: string;
  readonly rows: readonly Row[];
  /** Signatures a second of the token alone, on two threads. */
  readonly rule: number;
}): string {
  const { title, machine, rows, rule } = chart;
  const most = Math.max(rule, ...rows.flatMap(({ bars }) => bars.map((bar) => bar.most)));
  const scale = (value: number): number => LEFT + (value / most) * (WIDTH - LEFT - RIGHT);
  const height = TOP + rows.length * ROW + 30;
  const bottom = TOP + rows.length * ROW;
  const legend = Object.entries(COLORS).flatMap(([name, color], at) => [
    `<rect x="${LEFT + at * 110}" y="52" width="12" height="12" fill="${color}"/>`,
    text(LEFT + at * 110 + 18, 62, name),
  ]);
  const drawn = rows.flatMap(({ name, bars }, at) => {
    const top = TOP + at * ROW;
    return [
      text(LEFT - 8, top + BAR + 4, name, 'end'),
      ...bars.flatMap((bar, index) => {
        const y = top + index * (BAR + 2);
        const middle = y + BAR / 2;
        return [
          `<rect x="${LEFT}" y="${y}" width="${round(scale(bar.value) - LEFT)}" height="${BAR}" fill="${COLORS[bar.of]}"/>`,
          `<path d="M${round(scale(bar.least))} ${middle}H${round(scale(bar.most))}" stroke="#333"/>`,
          text(
            round(Math.max(scale(bar.value), scale(bar.most)) + 5),
            y + BAR - 1,
            Math.round(bar.value).toLocaleString('en-US'),
          ),
        ];
      }),
    ];
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" font-family="sans-serif" font-size="12" role="img">`,
    `<title>${escaped(title)}</title>`,
    `<rect width="${WIDTH}" height="${height}" fill="#fff"/>`,
    `<text x="16" y="24" font-size="16">${escaped(title)}</text>`,
    text(16, 42, machine),
    ...legend,
    `<path d="M${round(scale(rule))} ${TOP - 8}V${bottom}" stroke="#a03030" stroke-dasharray="4 3"/>`,
    text(
      round(scale(rule)),
      bottom + 16,
      `the token alone, two threads: ${Math.round(rule).toLocaleString('en-US')}`,
      'end',
    ),
    ...drawn,
    '</svg>',
    '',
  ].join('\n');
}

function text(x: number, y: number, words: string, anchor: 'start' | 'end' = 'start'): string {
  return `<text x="${x}" y="${y}" text-anchor="${anchor}">${escaped(words)}</text>`;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}

function escaped(words: string): string {
  return words.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
