#!/usr/bin/env node
import { dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

import { readConfig } from './daemon/config.js';
import { forbidCoreDumps } from './daemon/coreDumps.js';
import { startDaemon } from './daemon/daemon.js';
import { EXIT_CODES, exitCodeOf } from './daemon/exitCodes.js';
import { watchForHangs } from './daemon/hangWatch.js';
import { createOperatorLog, reasonsOf } from './daemon/operatorLog.js';
import { PAIR_PROGRAM } from './pairProgram.js';
import { SIGNING_PROGRAM } from './token/cryptoki/signingThread.js';
import { oldestCallMs } from './token/cryptoki/attributes.js';
import { versionLine } from './version.js';

const packageDirectory = resolve(dirname(fileURLToPath(import.meta.url)), '..');

const USAGE = `escrowd: key-escrow daemon on a PKCS#11 token

usage: escrowd --config FILE [--log-level error|warn|info|debug]
       escrowd init DIR [OPTION...]
       escrowd --help | --version

Runs in the foreground until SIGTERM or SIGINT, then finishes what is under way and stops.
The token must have been prepared by scripts/ceremony. The database is a private PostgreSQL in the
configured directory, or the server that DATABASE_URL names.
init writes what an installation is made of into a directory, and says what comes next (escrowd init --help).

exit codes
${Object.values(EXIT_CODES)
  .map(({ code, meaning }) => `  ${code}  ${meaning}`)
  .join('\n')}
`;

async function main(argv: readonly string[]): Promise<number> {
  if (argv[0] === 'init') return init(argv.slice(1));
  const options = {
    config: { type: 'string' },
    'log-level': { type: 'string', default: 'info' },
    help: { type: 'boolean', short: 'h' },
    version: { type: 'boolean' },
  } as const;
  let values;
  try {
    ({ values } = parseArgs({ args: [...argv], options }));
  } catch (error) {
    process.stderr.write(`error: ${error instanceof Error ? error.message : String(error)}\n\n${USAGE}`);
    return EXIT_CODES.usage.code;
  }
  if (values.help === true) {
    process.stdout.write(USAGE);
    return EXIT_CODES.clean.code;
  }
  if (values.version === true) {
    process.stdout.write(`${versionLine('escrowd')}\n`);
    return EXIT_CODES.clean.code;
  }
  if (values.config === undefined) {
    process.stderr.write(`error: --config FILE is needed\n\n${USAGE}`);
    return EXIT_CODES.usage.code;
  }
  const log = createOperatorLog(values['log-level'], process.stdout.isTTY);
  // Node opens its inspector on SIGUSR1 unless somebody takes the signal, and through it everything can be read.
  process.on('SIGUSR1', () => undefined);
  try {
    forbidCoreDumps();
    const config = readConfig(values.config, process.env);
    watchForHangs({ hangMs: config.token.hangMs, exitCode: EXIT_CODES.hang.code, oldestCallMs });
    const stopping = stopSignal();
    const daemon = await startDaemon({
      config,
      configFile: values.config,
      packageDirectory,
      pairProgram: PAIR_PROGRAM,
      signingProgram: SIGNING_PROGRAM,
      log,
    });
    const why = await Promise.race([stopping, daemon.failed]);
    if (typeof why === 'string') {
      log.info('stopping', { signal: why });
      await daemon.stop();
      log.info('stopped');
      return EXIT_CODES.clean.code;
    }
    log.error('stopping after a failure', { reason: reasonsOf(why) });
    await daemon.stop();
    return exitCodeOf(why);
  } catch (error) {
    log.error('cannot run', { reason: reasonsOf(error) });
    process.stderr.write(`error: ${error instanceof Error ? error.message : String(error)}\n`);
    return exitCodeOf(error);
  }
}

/** The daemon needs nothing of it, and does not load it. */
async function init(argv: readonly string[]): Promise<number> {
  const { runInit } = await import('./installation/main.js');
  const { terminalQuestions } = await import('./installation/questions.js');
  return runInit(argv, {
    packageDirectory,
    print: (text) => process.stdout.write(text),
    printError: (text) => process.stderr.write(text),
    questions: terminalQuestions,
  });
}

/** Resolves with the name of the first signal that asks to stop. */
function stopSignal(): Promise<string> {
  return new Promise((resolveSignal) => {
    for (const name of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const)
      process.on(name, () => {
        resolveSignal(name);
      });
  });
}

// A sudden end is safe (the log says what was under way), but a clean one also waits for the log to be written out.
process.exitCode = await main(process.argv.slice(2));
