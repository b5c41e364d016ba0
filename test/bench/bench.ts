import { appendBench } from './appends.js';
import { askedOf, UsageError, type Asked } from './arguments.js';
import { CHARTS, drawCharts } from './chart.js';
import type { Bench, Findings, Progress } from './findings.js';
import { depositBench } from './load/deposit.js';
import { growthBench } from './load/growth.js';
import { recoveryBench } from './load/recovery.js';
import { signBench } from './load/sign.js';
import { thisMachine } from './machine.js';
import { formatTable } from './table.js';
import { startBench } from './start.js';
import { verifyBench } from './verify.js';
import { verifyKeysBench } from './verifyKeys.js';

/*
 * Every figure stands beside a baseline that was measured in the same run with the same settings, because figures of two
 * machines, or of one machine at two times, cannot be compared.
 */
const BENCHES = {
  sign: [signBench],
  deposit: [depositBench],
  recovery: [recoveryBench],
  growth: [growthBench],
  log: [appendBench, verifyBench],
  keys: [verifyKeysBench],
  start: [startBench],
} as const satisfies Record<string, readonly Bench[]>;
type Name = keyof typeof BENCHES;
const NAMES = Object.keys(BENCHES) as readonly Name[];
/** Those of the whole daemon: they are judged only when that is asked for. */
const WHOLE: ReadonlySet<Name> = new Set(['sign', 'deposit', 'recovery', 'growth']);

const USAGE = `usage: npm run bench -- [${NAMES.join('|')}]... [options]

Measures, and prints tables and ratios. Without a name, everything.

of the whole daemon, built, in a process of its own, whose log is verified at the end:
  sign       signatures, beside the token alone and a bare server
  deposit    keys made and deposited, beside the same calls of the token alone and two commits
  recovery   the keys of a leaver recovered in one request, beside as many grants by the token alone
  growth     the main figures of these again, when the state has grown: takes long
of parts:
  log        appending to the log, and verifying it
  keys       verifying an export of very many keys, with everything in it
  start      opening the database, with the state that was kept and without it

  --seconds N     how long each figure is measured; more is steadier (3)
  --rounds N      of the whole daemon: how often all of it is measured, interleaved (3)
  --only WORDS    sign: of each choice what is named, with commas between: p256, rsa2048, rsa3072,
                  single, batch, certificate, signed, and 1, 8 or 32 clients
                  growth: of grants, deposits and entries only what is named grows
  --scale N       growth: to this part of 10,000 grants, 100,000 deposits and 1,000,000 entries (1)
  --check         of the whole daemon: judges the figures as well
  --json          for a program
  --chart FILE    draws docs/bench/*.svg of what --json has written into this file, and measures nothing
  --profile DIR   of the whole daemon: node writes there where its CPU time went
  --help

Exits with 1 when a target is missed, with 2 when the arguments are wrong. Targets that are absolute are meant for two
idle cores. The whole daemon has to be built: npm run build.
`;

process.exitCode = await main(process.argv.slice(2));

async function main(argv: readonly string[]): Promise<number> {
  try {
    return await follow(askedOf(argv, NAMES));
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    process.stderr.write(`error: ${error.message}\n\n${USAGE}`);
    return 2;
  }
}

async function follow(asked: Asked<Name>): Promise<number> {
  if (asked.wantsHelp) {
    process.stdout.write(USAGE);
    return 0;
  }
  if (asked.chart === undefined) return measure(asked);
  for (const file of drawCharts(asked.chart, CHARTS)) process.stdout.write(`${file}\n`);
  return 0;
}

async function measure({ names, isJudged, isJson, ...how }: Asked<Name>): Promise<number> {
  const machine = thisMachine();
  const progress: Progress = (line) => void process.stderr.write(`${line}\n`);
  const all: Findings[] = [];
  for (const name of NAMES.filter((each) => names.includes(each))) {
    for (const bench of BENCHES[name]) {
      const found = await bench({ ...how, progress });
      all.push(WHOLE.has(name) && !isJudged ? { ...found, targets: [] } : found);
    }
  }
  if (isJson)
    process.stdout.write(
      `${JSON.stringify(
        all.map((found) => ({ ...found, machine })),
        undefined,
        2,
      )}\n`,
    );
  else for (const found of all) process.stdout.write(textOf(found));
  const targets = all.flatMap((found) => found.targets);
  if (isJudged && targets.length === 0) {
    process.stderr.write('error: nothing that was measured is asked for anything\n');
    return 1;
  }
  return targets.every(({ met }) => met) ? 0 : 1;
}

function textOf({ tables, targets }: Findings): string {
  const judged = targets.map(({ what, met }) => `${met ? 'met   ' : 'MISSED'}  ${what}\n`);
  return `\n${tables.map(formatTable).join('\n')}\n${judged.join('')}`;
}
