import type { Findings } from '../findings.js';
import { count, milliseconds, type Table } from '../table.js';
import { KEYS, nameOf, SIZES, type Cell, type KeyWord } from './cells.js';
import type { CommitTimes } from './commits.js';
import type { Load } from './loadGenerator.js';
import { mediansOf, seriesOf, type Series } from './series.js';
import type { CostlyLoad } from './costlyLoad.js';
import { signTargets } from './signTargets.js';

/** What a round has found of a key without any server: signatures a second on one thread and on two. */
export interface KeyRound {
  readonly key: KeyWord;
  readonly one: number;
  readonly two: number;
  /** Two commits of one row each on the same cluster. */
  readonly commits: CommitTimes;
}

/** What a round has found of a cell. */
export interface CellRound {
  readonly cell: Cell;
  readonly bare: Load;
  readonly ours: CostlyLoad;
}

/** All rounds of a key. Signatures a second. */
export interface KeyFigure {
  readonly key: KeyWord;
  readonly one: Series;
  readonly two: Series;
  readonly commitsP50Ms: Series;
  readonly commitsP99Ms: Series;
}

/** All rounds of a cell. */
export interface CellFigure {
  readonly cell: Cell;
  readonly signaturesPerSecond: Series;
  readonly p50Ms: Series;
  readonly p99Ms: Series;
  /** Of CPU, for each signature. */
  readonly nodeMicros: Series;
  readonly postgresMicros: Series;
  readonly nodeMebibytes: Series;
  readonly postgresMebibytes: Series;
  readonly bare: { readonly signaturesPerSecond: Series; readonly p50Ms: Series; readonly p99Ms: Series };
  /** Times that of the bare server. */
  readonly ofBare: Ratio;
  /** Times that of the token alone on two threads. */
  readonly ofRaw: Ratio;
}

/** Of the two medians, and the least and most of a single round. */
export type Ratio = Series;

/** Sums the rounds up. */
export function findingsOf(keyRounds: readonly KeyRound[], cellRounds: readonly CellRound[]): Findings {
  const keys = grouped(keyRounds, ({ key }) => key).map(keyFigure);
  const cells = grouped(cellRounds, ({ cell }) => nameOf(cell)).map((rounds) =>
    cellFigure(rounds, keyRounds),
  );
  return {
    bench: 'sign',
    tables: [tableOfKeys(keys), ...tablesOfCells(cells)],
    figures: [...keys, ...cells],
    targets: signTargets(keys, cells),
  };
}

function keyFigure(rounds: readonly [KeyRound, ...KeyRound[]]): KeyFigure {
  const { p50Ms, p99Ms } = mediansOf(
    rounds.map(({ commits }) => commits),
    ['p50Ms', 'p99Ms'],
  );
  return {
    key: rounds[0].key,
    ...mediansOf(rounds, ['one', 'two']),
    commitsP50Ms: p50Ms,
    commitsP99Ms: p99Ms,
  };
}

function cellFigure(
  rounds: readonly [CellRound, ...CellRound[]],
  keyRounds: readonly KeyRound[],
): CellFigure {
  const [{ cell }] = rounds;
  const messages = SIZES[cell.size];
  const raw = keyRounds.filter(({ key }) => key === cell.key).map(({ two }) => two);
  const ours = rounds.map(({ ours: each }) => each.requestsPerSecond * messages);
  const bare = rounds.map(({ bare: each }) => each.requestsPerSecond * messages);
  const of = mediansOf(
    rounds.map(({ ours: each }) => ({
      p50Ms: each.p50Ms,
      p99Ms: each.p99Ms,
      nodeMicros: each.nodeMicros / messages,
      postgresMicros: each.postgresMicros / messages,
      nodeMebibytes: each.nodeBytes / 2 ** 20,
      postgresMebibytes: each.postgresBytes / 2 ** 20,
    })),
    ['p50Ms', 'p99Ms', 'nodeMicros', 'postgresMicros', 'nodeMebibytes', 'postgresMebibytes'],
  );
  const ofBare = mediansOf(
    rounds.map(({ bare: each }) => each),
    ['p50Ms', 'p99Ms'],
  );
  return {
    cell,
    signaturesPerSecond: seriesOf(ours),
    ...of,
    bare: { signaturesPerSecond: seriesOf(bare), ...ofBare },
    ofBare: ratioOf(ours, bare),
    ofRaw: ratioOf(ours, raw),
  };
}

function ratioOf(ours: readonly number[], theirs: readonly number[]): Ratio {
  const { least, most } = seriesOf(ours.map((value, round) => value / (theirs[round] ?? NaN)));
  return { median: seriesOf(ours).median / seriesOf(theirs).median, least, most };
}

function tableOfKeys(keys: readonly KeyFigure[]): Table {
  return {
    title:
      'The token alone, by C_SignInit and C_Sign: signatures a second (median, least to most of all rounds)',
    columns: ['key', 'one thread', '', 'two threads', ''],
    rows: keys.map(({ key, one, two }) => [
      KEYS[key].title,
      ...[one, two].flatMap((each) => [count(each.median), range(each, count)]),
    ]),
  };
}

function tablesOfCells(cells: readonly CellFigure[]): readonly Table[] {
  return [
    {
      title:
        'Through the daemon, beside a bare server: signatures a second, and milliseconds for a request (medians; ratios with least and most of a round)',
      columns: [
        'key, request, caller, clients',
        'signatures/s',
        'p50 ms',
        'p99 ms',
        'bare/s',
        'p50 ms',
        'p99 ms',
        'of bare',
        '',
        'of two threads',
        '',
      ],
      rows: cells.map(({ cell, bare, ofBare, ofRaw, ...ours }) => [
        nameOf(cell),
        ...speed(ours),
        ...speed(bare),
        ...[ofBare, ofRaw].flatMap((ratio) => [part(ratio.median), range(ratio, part)]),
      ]),
    },
    {
      title: 'What a signature through the daemon costs, and what its processes hold (medians)',
      columns: [
        'key, request, caller, clients',
        'Node us',
        'PostgreSQL us',
        'both us',
        'Node MiB',
        'PostgreSQL MiB',
      ],
      rows: cells.map(({ cell, nodeMicros, postgresMicros, nodeMebibytes, postgresMebibytes }) => [
        nameOf(cell),
        count(nodeMicros.median),
        count(postgresMicros.median),
        count(nodeMicros.median + postgresMicros.median),
        count(nodeMebibytes.median),
        count(postgresMebibytes.median),
      ]),
    },
  ];
}

function speed({ signaturesPerSecond, p50Ms, p99Ms }: CellFigure['bare']): readonly string[] {
  return [count(signaturesPerSecond.median), milliseconds(p50Ms.median), milliseconds(p99Ms.median)];
}

function range({ least, most }: Series, form: (value: number) => string): string {
  return `${form(least)} to ${form(most)}`;
}

function part(ratio: number): string {
  return ratio.toFixed(2);
}

function grouped<T>(all: readonly T[], by: (one: T) => string): readonly (readonly [T, ...T[]])[] {
  const groups = new Map<string, [T, ...T[]]>();
  for (const one of all) {
    const group = groups.get(by(one));
    if (group === undefined) groups.set(by(one), [one]);
    else group.push(one);
  }
  return [...groups.values()];
}
