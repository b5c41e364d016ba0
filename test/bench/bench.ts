import { parseArgs } from 'node:util';
import { appendBench } from './appends.js';
import type { Bench, Findings, Progress } from './findings.js';
import { formatTable } from './table.js';
import { startBench } from './start.js';
import { verifyBench } from './verify.js';
import { verifyKeysBench } from './verifyKeys.js';

/*
 * Measures, and prints tables and ratios:
 *
 *   npm run bench                         everything
 *   npm run bench -- log                  appending to the log, and verifying it
 *   npm run bench -- keys                 verifying an export of very many keys, with everything in it
 *   npm run bench -- start                opening the database, with the state that was kept and without it
 *   npm run bench -- log --seconds 5      longer, for steadier figures
 *   npm run bench -- log --json           for a program
 *
 * Every figure stands beside a baseline that was measured in the same run with the same settings, because figures of two
 * machines, or of one machine at two times, cannot be compared. Exits with 1 when a target is missed; the targets that
 * are absolute are meant for two idle cores.
 */
const BENCHES = {
  log: [appendBench, verifyBench],
  keys: [verifyKeysBench],
  start: [startBench],
} as const satisfies Record<string, readonly Bench[]>;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { json: { type: 'boolean', default: false }, seconds: { type: 'string', default: '3' } },
});
const seconds = Number(values.seconds);
const names = positionals.length === 0 ? Object.keys(BENCHES) : positionals;
const unknown = names.find((name) => !Object.hasOwn(BENCHES, name));
if (unknown !== undefined || !(seconds > 0)) {
  process.stderr.write(
    `usage: npm run bench -- [${Object.keys(BENCHES).join('|')}]... [--seconds N] [--json]\n`,
  );
  process.exit(2);
}
const progress: Progress = (line) => void process.stderr.write(`${line}\n`);
const all: Findings[] = [];
for (const [name, benches] of Object.entries(BENCHES)) {
  if (!names.includes(name)) continue;
  for (const bench of benches) all.push(await bench({ seconds, progress }));
}
if (values.json) process.stdout.write(`${JSON.stringify(all, undefined, 2)}\n`);
else
  for (const each of all)
    process.stdout.write(`\n${each.tables.map(formatTable).join('\n')}\n${targets(each)}\n`);
process.exitCode = all.every(({ targets: each }) => each.every(({ met }) => met)) ? 0 : 1;

function targets({ targets: each }: Findings): string {
  return each.map(({ what, met }) => `${met ? 'met   ' : 'MISSED'}  ${what}`).join('\n');
}
