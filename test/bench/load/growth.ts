import { setTimeout as pause } from 'node:timers/promises';
import { startChild } from '../child.js';
import { atMost, type Bench, type Findings, type How, type Progress } from '../findings.js';
import { count, milliseconds } from '../table.js';
import { GROWTH_WORDS, type Cell, type GrowthWord, type KeyWord } from './cells.js';
import { costlyLoad, plainLoad } from './costlyLoad.js';
import { depositOrder } from './deposit.js';
import { activate, makeUsableKey, type UsableKey } from './grants.js';
import { LEFT_KEYS, makeKeys, recover } from './recovery.js';
import { mediansOf, seriesOf, type Series } from './series.js';
import { Signing } from './signing.js';
import { withDaemonUnderLoad, type UnderLoad } from './underLoad.js';

/** What the state grows to. */
const FULL = { grants: 10_000, deposits: 100_000, entries: 1_000_000 } as const satisfies Record<
  GrowthWord,
  number
>;
/** A page of a list. */
const PAGE = 100;
/** How often each list is asked for in a round. */
const PAGES = 10;
/** How long the daemon is left alone, to see what it does by itself: two rounds of its housekeeping. */
const IDLE_SECONDS = 10;
/** How long the load goes on before it is looked how much there is. */
const WINDOW_SECONDS = 5;
/** How much worse a figure may be by it. */
const MOST_WORSE = 1.15;

const SINGLE: Cell = { key: 'p256', size: 'single', caller: 'certificate', clients: 32 };
const CELLS = {
  single32: SINGLE,
  single1: { ...SINGLE, clients: 1 },
  batch8: { ...SINGLE, size: 'batch', clients: 8 },
} as const satisfies Record<string, Cell>;

/** The main figures, each so that more is worse. */
interface Main {
  /** Microseconds between two answers at 32 clients. */
  readonly single32Micros: number;
  readonly single1P50Ms: number;
  readonly batch8Micros: number;
  readonly cpuMicros: number;
  readonly depositP50Ms: number;
  readonly filedMs: number;
  readonly activatedMs: number;
  readonly keysPageMs: number;
  readonly grantsPageMs: number;
  readonly idleMillis: number;
  readonly startMs: number;
}
const NAMES = {
  single32Micros: 'P-256 single, 32 clients: us between answers',
  single1P50Ms: 'P-256 single, one client: p50 ms',
  batch8Micros: 'P-256 batch of 100, 8 clients: us between answers',
  cpuMicros: 'P-256 single, 32 clients: us of CPU',
  depositP50Ms: 'deposit of a P-256 key, one client: p50 ms',
  filedMs: `request for ${LEFT_KEYS} keys filed: ms`,
  activatedMs: `${LEFT_KEYS} keys of a leaver activated: ms`,
  keysPageMs: `a page of ${PAGE} keys: ms`,
  grantsPageMs: `a page of ${PAGE} grants: ms`,
  idleMillis: 'nobody asks anything: ms of CPU a second',
  startMs: 'started again, until it serves: ms',
} as const satisfies Record<keyof Main, string>;
const MEMBERS = Object.keys(NAMES) as readonly (keyof Main)[];

/** The main figures with little state and with much, all of which was made through the API. */
export const growthBench: Bench = ({ progress, seconds, rounds, scale, only, profileInto }) =>
  withDaemonUnderLoad({ progress, profileInto }, async (daemon): Promise<Findings> => {
    const keys = new Map<KeyWord, UsableKey>([['p256', await makeUsableKey(daemon.system, 'p256')]]);
    const signing = new Signing(daemon, keys);
    const generator = startChild('load/loadGenerator.ts', {});
    const measure = async (when: string): Promise<Readonly<Record<keyof Main, Series>>> => {
      const measured: Main[] = [];
      for (let round = 1; round <= rounds; round += 1) {
        progress(`growth: ${when}, round ${round} of ${rounds}`);
        const single32 = await signing.ours(CELLS.single32, seconds);
        const single1 = await signing.ours(CELLS.single1, seconds);
        const batch8 = await signing.ours(CELLS.batch8, seconds);
        const deposit = await costlyLoad(generator, depositOrder(daemon, 1, seconds), daemon);
        const { filedMs, activatedMs } = await recover(daemon, await makeKeys(daemon, LEFT_KEYS));
        const lists = daemon.system.client('admin-1');
        const keysPageMs = await medianMs(() => lists.keys({ limit: PAGE }));
        const grantsPageMs = await medianMs(() => lists.grants({ limit: PAGE }));
        measured.push({
          single32Micros: 1e6 / single32.requestsPerSecond,
          single1P50Ms: single1.p50Ms,
          batch8Micros: 1e6 / batch8.requestsPerSecond,
          cpuMicros: single32.nodeMicros + single32.postgresMicros,
          depositP50Ms: deposit.p50Ms,
          ...{ filedMs, activatedMs, keysPageMs, grantsPageMs },
          idleMillis: await idleMillis(daemon),
          startMs: await daemon.restart(),
        });
      }
      return mediansOf(measured, MEMBERS);
    };
    const before = await measure('with little state');
    const state = await grow(daemon, signing, { scale, only }, progress);
    const after = await measure('with much state');
    await signing.stop();
    await generator.ended();
    return findingsOf(before, after, state);
  });

/** Makes the state; resolves with how much of it there is now. */
async function grow(
  daemon: UnderLoad,
  signing: Signing,
  { scale, only }: Pick<How, 'scale' | 'only'>,
  progress: Progress,
): Promise<Readonly<Record<GrowthWord, number>>> {
  const named = GROWTH_WORDS.filter((word) => only.includes(word));
  const partOf = (what: GrowthWord): number =>
    named.length === 0 || named.includes(what) ? Math.ceil(FULL[what] * scale) : 0;
  const wanted = { grants: partOf('grants'), deposits: partOf('deposits'), entries: partOf('entries') };
  let grants = 0;
  let deposits = 0;
  while (grants < wanted.grants) {
    const keys = await makeKeys(daemon, Math.min(LEFT_KEYS, wanted.grants - grants));
    grants += (await activate(daemon.system, keys, 'p256')).length;
    deposits += keys.length;
    progress(`growth: ${count(grants)} of ${count(wanted.grants)} grants`);
  }
  const generator = startChild('load/loadGenerator.ts', {});
  while (deposits < wanted.deposits) {
    deposits += (await plainLoad(generator, depositOrder(daemon, 8, WINDOW_SECONDS))).requests;
    progress(`growth: ${count(deposits)} of ${count(wanted.deposits)} deposits`);
  }
  await generator.ended();
  let entries = await sizeOfLog(daemon);
  while (entries < wanted.entries) {
    await signing.ours(CELLS.single32, WINDOW_SECONDS);
    entries = await sizeOfLog(daemon);
    progress(`growth: ${count(entries)} of ${count(wanted.entries)} entries`);
  }
  return { grants, deposits, entries };
}

/** The median of some tries, in milliseconds. */
async function medianMs(ask: () => Promise<unknown>): Promise<number> {
  const times: number[] = [];
  while (times.length < PAGES) {
    const begunAt = performance.now();
    await ask();
    times.push(performance.now() - begunAt);
  }
  return seriesOf(times).median;
}

/** What the daemon and its database use while nobody asks anything: milliseconds of CPU a second. */
async function idleMillis(daemon: UnderLoad): Promise<number> {
  // what the last requests have left to do is done by then
  await pause(2_000);
  const before = daemon.costs();
  await pause(IDLE_SECONDS * 1_000);
  const after = daemon.costs();
  const micros = (['node', 'postgres'] as const).map(
    (which) => after[which].cpuMicros - before[which].cpuMicros,
  );
  return micros.reduce((sum, each) => sum + each, 0) / 1_000 / IDLE_SECONDS;
}

/** By the newest checkpoint (C2SP tlog-checkpoint): its second line. */
async function sizeOfLog({ system }: UnderLoad): Promise<number> {
  const [, size] = (await system.client('auditor').checkpoint()).split('\n');
  return Number(size);
}

function findingsOf(
  before: Readonly<Record<keyof Main, Series>>,
  after: Readonly<Record<keyof Main, Series>>,
  state: Readonly<Record<GrowthWord, number>>,
): Findings {
  const figures = MEMBERS.map((name) => ({
    name,
    before: before[name],
    after: after[name],
    times: after[name].median / before[name].median,
  }));
  const { grants, deposits, entries } = state;
  return {
    bench: 'growth',
    tables: [
      {
        title: `With little state, and with ${count(grants)} grants, ${count(deposits)} deposits and ${count(entries)} entries (medians)`,
        columns: ['figure', 'little', 'much', 'times'],
        rows: figures.map(({ name, times, ...when }) => [
          NAMES[name],
          milliseconds(when.before.median),
          milliseconds(when.after.median),
          times.toFixed(2),
        ]),
      },
    ],
    figures: [{ state }, ...figures],
    targets: figures.map(({ name, times }) =>
      atMost(`${NAMES[name]}, times that with little state`, times, MOST_WORSE),
    ),
  };
}
