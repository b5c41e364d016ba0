import { parseArgs } from 'node:util';
import { crash, faultsOf } from './scenario.js';

/*
 * Kills the daemon and stops PostgreSQL at once, again and again, while clients sign, and then looks in the log for
 * everything that a client was told:
 *
 *   npm run crash                                   in full: 50,000 operations, 100 kills, 20 stops of PostgreSQL
 *   npm run crash -- --operations 2000 --kills 10 --stops 4
 *   npm run crash -- --control                      a daemon that answers before it writes: exits with 0 when that loses
 *   npm run crash -- --json                         the report for a program
 *
 * Exits with 0 only when nothing that was acknowledged is missing, the log is believed, and every attempt is closed.
 */
const { values } = parseArgs({
  options: {
    clients: { type: 'string', default: '32' },
    operations: { type: 'string' },
    kills: { type: 'string' },
    stops: { type: 'string' },
    control: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
  },
});
const usual = values.control
  ? { operations: '2000', kills: '10', stops: '0' }
  : { operations: '50000', kills: '100', stops: '20' };
const { operations, kills, stops } = { ...usual, ...values };
const [clients, ...counts] = [values.clients, operations, kills, stops].map(Number);
if (
  clients === undefined ||
  clients < 1 ||
  ![clients, ...counts].every((value) => Number.isSafeInteger(value) && value >= 0)
) {
  process.stderr.write(
    'usage: npm run crash -- [--clients N] [--operations N] [--kills N] [--stops N] [--control] [--json]\n',
  );
  process.exit(2);
}
const report = await crash({
  clients,
  operations: Number(operations),
  kills: Number(kills),
  stops: Number(stops),
  journal: values.control ? 'hasty' : 'honest',
  progress: (line) => void process.stderr.write(`${line}\n`),
});
const faults = faultsOf(report);
if (values.json) process.stdout.write(`${JSON.stringify({ ...report, faults }, undefined, 2)}\n`);
else {
  const lines = Object.entries({
    ...report,
    ownEnds: report.ownEnds.length,
    refused: report.refused ?? 'no',
  }).map(
    ([name, value]) =>
      `${name.padEnd(14)}${typeof value === 'object' ? JSON.stringify(value) : String(value)}`,
  );
  process.stdout.write(
    `${[...lines, '', ...(faults.length > 0 ? faults : ['nothing is lost'])].join('\n')}\n`,
  );
}
if (values.control) {
  process.stderr.write(
    report.missing > 0
      ? 'the control has lost what it acknowledged, as it must\n'
      : 'the control has lost nothing: this test does not find what it is for\n',
  );
  process.exitCode = report.missing > 0 ? 0 : 1;
} else process.exitCode = faults.length === 0 ? 0 : 1;
