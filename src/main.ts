#!/usr/bin/env node
import { NATIVE_DRIVER } from './system/nativeDriver.js';

import { dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

import { checkStart } from './daemon/check/checkStart.js';
import { jsonOf, textOf } from './daemon/check/report.js';
import { type Config, readConfig } from './daemon/config.js';
import { forbidCoreDumps } from './daemon/coreDumps.js';
import { startDaemon } from './daemon/daemon.js';
import { type Environment, shutOutDriver } from './daemon/start/environment.js';
import { EXIT_CODES, exitCodeOf } from './daemon/exitCodes.js';
import { watchForHangs } from './daemon/hangWatch.js';
import {
  createOperatorLog,
  LOG_LEVELS,
  logLevelOf,
  type OperatorLog,
  reasonsOf,
} from './daemon/operatorLog.js';
import { PAIR_PROGRAM } from './pairProgram.js';
import { SIGNING_PROGRAM } from './token/cryptoki/signingThread.js';
import { oldestCallMs } from './token/cryptoki/attributes.js';
import { versionLine } from './version.js';

const packageDirectory = resolve(dirname(fileURLToPath(import.meta.url)), '..');

const USAGE = `escrowd: key-escrow daemon on a PKCS#11 token

usage: escrowd --config FILE [--log-level ${LOG_LEVELS.join('|')}]
       escrowd --config FILE --check [--self-test] [--json]
       escrowd init DIR [OPTION...]
       escrowd --help | --version

Runs in the foreground until SIGTERM or SIGINT, then finishes what is under way
and stops. On SIGHUP it reads the configuration and its files again:
certificate, limits, witnesses, notifications, log level.
The token must have been prepared by scripts/ceremony. The database is a private
PostgreSQL in the configured directory, or the server that DATABASE_URL names.
init writes what an installation is made of into a directory, and says what
comes next (escrowd init --help).

--check finds what a start would find, all of it at once, whether the daemon
runs or not, and changes nothing; it tries the PIN once. It ends with 0, or with
the exit code that the start would end with. --self-test also has the token
prove what it does and refuses, as a start does: that makes keys in it, which
are gone when it is over. --json prints an array of
{ code, severity, what, where, do }; severity is error, warning or note.

exit codes
${Object.values(EXIT_CODES)
  .map(
    ({ code, meaning }) =>
      `${String(code).padStart(4)}  ${meaning.replace(/(.{1,74})( |$)/g, '$1\n      ').trim()}`,
  )
  .join('\n')}
`;

/** So long a start that is told to stop may take to give back what it has started; then the process ends all the same. */
const STOPPED_START_MS = 10_000;

/** What the command line asks for. */
interface Order {
  readonly configFile: string;
  readonly logLevel: string | undefined;
  /** What is found is printed so, and nothing is started. */
  readonly check: 'text' | 'json' | undefined;
  /** Whether a check has the token prove itself. */
  readonly selfTest: boolean;
}

/** Reads the command line; the exit code when there is nothing more to do. */
function orderIn(argv: readonly string[]): Order | number {
  const options = {
    config: { type: 'string' },
    'log-level': { type: 'string' },
    check: { type: 'boolean' },
    'self-test': { type: 'boolean' },
    json: { type: 'boolean' },
    help: { type: 'boolean', short: 'h' },
    version: { type: 'boolean' },
  } as const;
  const wrong = (why: string): number => {
    process.stderr.write(`error: ${why}\n\n${USAGE}`);
    return EXIT_CODES.usage.code;
  };
  let values;
  try {
    ({ values } = parseArgs({ args: [...argv], options }));
  } catch (error) {
    return wrong(error instanceof Error ? error.message : String(error));
  }
  if (values.help === true) {
    process.stdout.write(USAGE);
    return EXIT_CODES.clean.code;
  }
  if (values.version === true) {
    process.stdout.write(`${versionLine('escrowd')}\n`);
    return EXIT_CODES.clean.code;
  }
  if (values.config === undefined) return wrong('--config FILE is needed');
  const logLevel = values['log-level'];
  if (logLevel !== undefined && logLevelOf(logLevel) === undefined)
    return wrong(`--log-level is one of ${LOG_LEVELS.join(', ')}, not "${logLevel}"`);
  const selfTest = values['self-test'] === true;
  if ((values.json === true || selfTest) && values.check !== true)
    return wrong(`${selfTest ? '--self-test' : '--json'} is for --check`);
  const check = values.check === true ? (values.json === true ? 'json' : 'text') : undefined;
  return { configFile: values.config, logLevel, check, selfTest };
}

async function main(argv: readonly string[]): Promise<number> {
  if (argv[0] === 'init') return init(argv.slice(1));
  const order = orderIn(argv);
  if (typeof order === 'number') return order;
  if (order.check !== undefined) return check(order.configFile, order.check, order.selfTest);
  const isTerminal = process.stdout.isTTY;
  const log = createOperatorLog(order.logLevel ?? 'info', isTerminal);
  // Node opens its inspector on SIGUSR1 unless somebody takes the signal, and through it everything can be read.
  process.on('SIGUSR1', () => undefined);
  goOnWithoutOutput(isTerminal);
  try {
    forbidCoreDumps();
    const config = readConfig(order.configFile, environmentNow());
    log.level = order.logLevel ?? config.logLevel;
    const ignored = shutOutDriver(process.env);
    if (ignored.length > 0)
      log.warn('variables of the database driver are ignored: the database is the daemon’s own', {
        variables: ignored.join(' '),
      });
    watch(config);
    return await run(order, config, log);
  } catch (error) {
    const exitCode = exitCodeOf(error);
    // once, where somebody reads it
    if (isTerminal)
      process.stderr.write(`error: ${error instanceof Error ? error.message : String(error)}\n`);
    else log.error('cannot run', { reason: reasonsOf(error), exitCode });
    return exitCode;
  }
}

/** Lines for operators may be lost, and nothing else with them. Whose terminal has gone is asked to stop: nobody sees it any more. */
function goOnWithoutOutput(isTerminal: boolean): void {
  process.stdout.on('error', () => {
    if (isTerminal) process.kill(process.pid, 'SIGTERM');
  });
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

/** Ends the process when a call into the token does not come back. */
function watch({ token }: Config): void {
  watchForHangs({ hangMs: token.hangMs, exitCode: EXIT_CODES.hang.code, oldestCallMs });
}

/** Prints what a start would find. */
async function check(configFile: string, form: 'text' | 'json', selfTest: boolean): Promise<number> {
  forbidCoreDumps();
  const environment = environmentNow();
  shutOutDriver(process.env);
  const begin = watch;
  const findings = await checkStart({ configFile, environment, packageDirectory, begin, selfTest });
  process.stdout.write(form === 'json' ? jsonOf(findings) : textOf(findings, selfTest));
  return findings.exitCode;
}

/** Starts the daemon, and stops it again when it is told to, or can go on no more; also while it starts. */
async function run(order: Order, config: Config, log: OperatorLog): Promise<number> {
  const stopping = stopSignal();
  const reloading = reloadSignal();
  const stop = new AbortController();
  const starting = startDaemon({
    config,
    configFile: order.configFile,
    packageDirectory,
    pairProgram: PAIR_PROGRAM,
    signingProgram: SIGNING_PROGRAM,
    log,
    stop: stop.signal,
  });
  const first = await Promise.race([starting, stopping]);
  if (typeof first === 'string') {
    log.info('stopping before the start is over', { signal: first });
    stop.abort();
    await endOf(starting.then((daemon) => daemon.stop()));
    log.info('stopped');
    return EXIT_CODES.clean.code;
  }
  reloading.serve(() => {
    const read = (): Config => readConfig(order.configFile, environmentNow());
    void first.reload(read).then((taken) => {
      if (taken !== undefined) log.level = order.logLevel ?? taken.logLevel;
    });
  });
  const why = await Promise.race([stopping, first.failed]);
  if (typeof why === 'string') {
    log.info('stopping', { signal: why });
    await first.stop();
    log.info('stopped');
    return EXIT_CODES.clean.code;
  }
  log.error('stopping after a failure', { reason: reasonsOf(why) });
  await first.stop();
  return exitCodeOf(why);
}

/** Waits until a start that was told to stop is over, however it ends; not for ever. */
async function endOf(starting: Promise<void>): Promise<void> {
  const ended = starting.catch(() => undefined);
  const late = setTimeout(() => {
    process.exit(EXIT_CODES.clean.code);
  }, STOPPED_START_MS);
  await ended;
  clearTimeout(late);
}

/** Resolves with the name of the first signal that asks to stop. */
function stopSignal(): Promise<string> {
  return new Promise((resolveSignal) => {
    for (const name of ['SIGTERM', 'SIGINT'] as const)
      process.on(name, () => {
        resolveSignal(name);
      });
  });
}

/** Takes SIGHUP from now on; one that comes before there is anything to reload is heeded then. */
function reloadSignal(): { serve(reload: () => void): void } {
  let isDue = false;
  let reload = (): void => {
    isDue = true;
  };
  process.on('SIGHUP', () => {
    reload();
  });
  return {
    serve: (given) => {
      reload = given;
      if (isDue) given();
    },
  };
}

/** The variables of this process, and what was taken away of them before anything else. */
function environmentNow(): Environment {
  return { ...process.env, ...NATIVE_DRIVER };
}

// A sudden end is safe (the log says what was under way), but a clean one also waits for the log to be written out.
process.exitCode = await main(process.argv.slice(2));
