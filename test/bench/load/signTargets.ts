import { atLeast, atMost, type Target } from '../findings.js';
import { KEYS, nameOf, type Cell } from './cells.js';
import type { CellFigure, KeyFigure } from './signFindings.js';

/** A figure of one cell, and what is asked of it. */
interface Asked {
  readonly cell: Cell;
  readonly of: 'ofBare' | 'ofRaw';
  readonly least: number;
}

const p256 = { key: 'p256', size: 'single', caller: 'certificate', clients: 32 } as const;
const rsa2048 = { ...p256, key: 'rsa2048' } as const;

/** By medians of interleaved rounds, on two cores that also make the load. */
const ASKED: readonly Asked[] = [
  { cell: p256, of: 'ofBare', least: 0.4 },
  { cell: { ...p256, caller: 'signed' }, of: 'ofBare', least: 0.35 },
  { cell: { ...p256, size: 'batch', clients: 8 }, of: 'ofRaw', least: 0.7 },
  { cell: rsa2048, of: 'ofRaw', least: 0.5 },
  { cell: { ...rsa2048, size: 'batch', clients: 8 }, of: 'ofRaw', least: 0.9 },
];
const OF = { ofBare: 'a bare server', ofRaw: 'the token on two threads' } as const;

/** The most that a signature of one client may take, times a bare server's and two commits. */
const MOST_OF_PARTS = 1.5;
/** The most of CPU that a signature may cost at 32 clients, in Node and PostgreSQL. */
const MOST_MICROS = 700;

/** What is asked of these figures: of those that were measured. */
export function signTargets(keys: readonly KeyFigure[], cells: readonly CellFigure[]): readonly Target[] {
  const found = (cell: Cell): CellFigure | undefined =>
    cells.find((each) => nameOf(each.cell) === nameOf(cell));
  const ratios = ASKED.flatMap(({ cell, of, least }) => {
    const figure = found(cell);
    return figure === undefined
      ? []
      : [atLeast(`${titleOf(cell)}, times ${OF[of]}`, figure[of].median, least)];
  });
  const one = found({ ...p256, clients: 1 });
  const commits = keys.find(({ key }) => key === 'p256')?.commitsP50Ms;
  const latency =
    one === undefined || commits === undefined
      ? []
      : [
          atMost(
            `${titleOf(one.cell)}, p50, times a bare server's and two commits`,
            one.p50Ms.median / (one.bare.p50Ms.median + commits.median),
            MOST_OF_PARTS,
          ),
        ];
  const at32 = found(p256);
  const cpu =
    at32 === undefined
      ? []
      : [
          atMost(
            `${titleOf(p256)}, microseconds of CPU`,
            at32.nodeMicros.median + at32.postgresMicros.median,
            MOST_MICROS,
          ),
        ];
  return [...ratios, ...latency, ...cpu];
}

function titleOf({ key, size, caller, clients }: Cell): string {
  const request = size === 'single' ? 'single' : 'batch of 100';
  const by = caller === 'certificate' ? 'client certificate' : 'signed request';
  return `${KEYS[key].title} ${request}, ${by}, ${clients === 1 ? 'one client' : `${clients} clients`}`;
}
