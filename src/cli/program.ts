import { printable, printableJson } from '../escrow/records/freeText.js';
import { Command, CommanderError, Option } from 'commander';

import { COMMANDS, GROUPS, OPTIONS } from './commands.js';
import type { CommandRow, OptionRow, Result } from './command.js';
import type { Environment } from './environment.js';
import { type ExitName, EXIT_CODES, exitCodesHelp } from './exitCodes.js';
import { type Failure, failureOf, interruption, UsageError } from './failures.js';
import { keepResult, Unwritten } from './files/keptResult.js';
import { CommandArguments } from './commandArguments.js';
import { Session } from './session.js';
import { readSettings } from './settings.js';
import { errorMark, Interrupted } from './terminal.js';
import { codeOf, fileReason } from '../system/errors.js';
import { fittedLine } from './textWidth.js';
import { unbroken } from '../system/helpText.js';
import { versionLine } from '../version.js';

/**
 * Runs one command line (without the program's own name) and returns the exit code, see {@link EXIT_CODES}. What was
 * asked for goes to standard output, everything else to standard error.
 */
export async function runEscrowctl(argv: readonly string[], environment: Environment): Promise<number> {
  const run: Run = { exit: 'ok', session: undefined };
  const isJson = argv.includes('--json');
  const interrupted = environment.interrupted.then((): never => {
    throw new Interrupted('interrupted');
  });
  try {
    await Promise.race([carriedOut(argv, environment, run), interrupted]);
  } catch (error) {
    const failure =
      error instanceof Interrupted ? interruption(run.session?.hasSent === true) : failureOf(error);
    tell(failure, isJson, environment);
    run.exit = failure.exit;
  }
  await run.session?.close();
  return EXIT_CODES[run.exit].code;
}

/** One run: what it has come to so far. */
interface Run {
  exit: ExitName;
  session: Session | undefined;
}

async function carriedOut(argv: readonly string[], environment: Environment, run: Run): Promise<void> {
  try {
    await programOf(environment, run).parseAsync([...argv], { from: 'user' });
  } catch (error) {
    // commander has written what there is to say; asking for help is no error
    if (!(error instanceof CommanderError)) throw error;
    run.exit = error.exitCode === 0 ? 'ok' : 'usage';
  }
  await leave(environment);
}

/** Lets what was written leave. A reader that has gone has what it wanted. @throws Unwritten */
async function leave({ terminal }: Environment): Promise<void> {
  await terminal.flush().catch((cause: unknown) => {
    if (codeOf(cause) === 'EPIPE') return;
    throw new Unwritten(
      `standard output takes no more: ${fileReason(cause)}`,
      'what was asked for is done; look at it again',
      { cause },
    );
  });
}

function tell(failure: Failure, isJson: boolean, { terminal }: Environment): void {
  const { code, sentence, next, exit } = failure;
  if (isJson) {
    const more = next === undefined ? {} : { next };
    const told = { error: { exit: EXIT_CODES[exit].code, code, detail: sentence, ...more } };
    terminal.writeError(`${printableJson(JSON.stringify(told))}\n`);
    return;
  }
  terminal.writeError(`${errorMark(terminal.hasColor)} ${printable(sentence)}\n`);
  if (next !== undefined) terminal.writeError(`next: ${printable(next)}\n`);
}

function programOf(environment: Environment, run: Run): Command {
  const { terminal } = environment;
  const program = new Command('escrowctl')
    .description('Key escrow in an HSM: keys, recovery, grants and the log, from the command line.')
    .version(versionLine('escrowctl'), '--version', 'say which version this is')
    .exitOverride()
    .configureOutput({
      writeOut: (text) => {
        terminal.write(text);
      },
      writeErr: (text) => {
        terminal.writeError(text);
      },
      getOutHelpWidth: () => terminal.columns ?? USUAL_COLUMNS,
      getErrHelpWidth: () => terminal.columns ?? USUAL_COLUMNS,
    })
    .configureHelp({
      showGlobalOptions: true,
      commandDescription: (command) => unbroken(command.description()),
    })
    .showHelpAfterError('next: add --help to see how it is used')
    .helpCommand(false);
  for (const option of OPTIONS) program.addOption(optionOf(option));
  for (const { name, summary, itself, commands } of GROUPS) {
    const group =
      itself === undefined
        ? program.command(name).description(summary)
        : addCommand(program, itself, environment, run);
    for (const row of commands) addCommand(group, row, environment, run);
  }
  for (const row of COMMANDS) addCommand(program, row, environment, run);
  addHelp(program, environment);
  program.addHelpText('after', `\n${TOUR}`);
  return program;
}

const USUAL_COLUMNS = 80;

const TOUR = `How a key lives:
  escrowctl identity new DIR --id ID          everyone makes their own keys, once
  escrowctl plan --sign OUT, apply            two administrators put the rules in force
  escrowctl key generate                      a key is born, deposited with its depositaries
  escrowctl recovery request, approve         depositaries agree, each with their own key
  escrowctl sign, decrypt                     an app uses the key; it stays in the token
  escrowctl history, log verify               owner and auditor see, and check, everything

escrowctl help exit-codes tells what the exit code of each command says.`;

function addCommand(parent: Command, row: CommandRow, environment: Environment, run: Run): Command {
  const command = parent
    .command(row.usage)
    .summary(row.summary)
    .description(row.about === undefined ? row.summary : `${row.summary}\n\n${row.about}`)
    .addHelpText('after', `\nExamples:\n${row.examples.map((line) => `  $ escrowctl ${line}`).join('\n')}`);
  for (const option of row.options ?? []) command.addOption(optionOf(option));
  command.action(async () => {
    const options = command.optsWithGlobals();
    const given = new CommandArguments(command.args, options);
    const session = new Session(environment, readSettings(given, environment.variables));
    run.session = session;
    const result = await row.run(session, given);
    await report(result, options['json'] === true, environment, session);
    run.exit = result.exit ?? 'ok';
  });
  return command;
}

function optionOf(row: OptionRow): Option {
  const option = new Option(row.flags, row.about);
  if (row.required === true) option.makeOptionMandatory();
  if (row.choices !== undefined) option.choices([...row.choices]);
  if (row.default !== undefined) option.default(row.default);
  if (row.many === true) {
    option.argParser((value: string, before: readonly string[] | undefined) => {
      if (row.choices?.includes(value) === false) {
        throw new UsageError(`${value} is not one of ${row.choices.join(', ')}`);
      }
      return [...(before ?? []), value];
    });
  }
  return option;
}

async function report(
  result: Result,
  isJson: boolean,
  { terminal }: Environment,
  session: Session,
): Promise<void> {
  terminal.write(textOf(result, isJson, terminal.columns));
  const { precious } = result;
  if (precious === undefined) return;
  await terminal.flush().catch(async (cause: unknown) => {
    throw await keepResult(
      session.spareDirectories,
      precious,
      `standard output takes no more: ${fileReason(cause)}`,
    );
  });
}

function textOf(result: Result, isJson: boolean, columns: number | undefined): string | Uint8Array {
  if (result.raw !== undefined) return result.raw;
  if (isJson) return `${printableJson(JSON.stringify(result.json, undefined, 2))}\n`;
  const next = result.next === undefined ? [] : ['', `Next: ${result.next}`];
  const lines = [...result.lines, ...next].map(printable);
  const fitted = columns === undefined ? lines : lines.flatMap((line) => fittedLine(line, columns));
  return `${fitted.join('\n')}\n`;
}

function addHelp(program: Command, { terminal }: Environment): void {
  program
    .command('help [topic...]')
    .summary('tells about a command, or about exit-codes')
    .action((topic: readonly string[]) => {
      if (topic[0] === 'exit-codes') {
        terminal.write(`${exitCodesHelp().join('\n')}\n`);
        return;
      }
      let found = program;
      for (const name of topic) {
        const next = found.commands.find((command) => command.name() === name);
        if (next === undefined)
          throw new UsageError(`there is no command ${topic.join(' ')}`, 'escrowctl --help');
        found = next;
      }
      found.outputHelp();
    });
}
