import { printable, printableJson } from '../escrow/records/freeText.js';
import { Command, CommanderError, Option } from 'commander';

import { COMMANDS, GROUPS, OPTIONS } from './commands.js';
import type { CommandRow, OptionRow, Result } from './command.js';
import type { Environment } from './environment.js';
import { EXIT_CODES, exitCodesHelp } from './exitCodes.js';
import { failureOf, UsageError } from './failures.js';
import { CommandArguments } from './commandArguments.js';
import { Session } from './session.js';
import { readSettings } from './settings.js';
import { errorMark } from './terminal.js';
import { unbroken } from '../system/helpText.js';
import { versionLine } from '../version.js';

/**
 * Runs one command line (without the program's own name) and returns the exit code, see {@link EXIT_CODES}. What was
 * asked for goes to standard output, everything else to standard error.
 */
export async function runEscrowctl(argv: readonly string[], environment: Environment): Promise<number> {
  const { terminal } = environment;
  let exit: number = EXIT_CODES.ok.code;
  const program = programOf(environment, (code) => {
    exit = code;
  });
  try {
    await program.parseAsync([...argv], { from: 'user' });
    return exit;
  } catch (error) {
    // commander has written what there is to say; asking for help is no error
    if (error instanceof CommanderError)
      return error.exitCode === 0 ? EXIT_CODES.ok.code : EXIT_CODES.usage.code;
    const failure = failureOf(error);
    if (argv.includes('--json')) {
      const { code, sentence, next, exit: name } = failure;
      const told = {
        error: {
          exit: EXIT_CODES[name].code,
          code,
          detail: sentence,
          ...(next === undefined ? {} : { next }),
        },
      };
      terminal.writeError(`${printableJson(JSON.stringify(told))}\n`);
    } else {
      terminal.writeError(`${errorMark(terminal.hasColor)} ${printable(failure.sentence)}\n`);
      if (failure.next !== undefined) terminal.writeError(`next: ${printable(failure.next)}\n`);
    }
    return EXIT_CODES[failure.exit].code;
  }
}

type SetExit = (code: number) => void;

function programOf(environment: Environment, setExit: SetExit): Command {
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
        : addCommand(program, itself, environment, setExit);
    if (itself === undefined) group.action(() => group.help({ error: true }));
    for (const row of commands) addCommand(group, row, environment, setExit);
  }
  for (const row of COMMANDS) addCommand(program, row, environment, setExit);
  addHelp(program, environment);
  program.addHelpText('after', `\n${TOUR}`);
  return program;
}

const TOUR = `How a key lives:
  escrowctl identity new DIR --id ID          everyone makes their own keys, once
  escrowctl plan --sign OUT, apply            two administrators put the rules in force
  escrowctl key generate                      a key is born, deposited with its depositaries
  escrowctl recovery request, approve         depositaries agree, each with their own key
  escrowctl sign, decrypt                     an app uses the key; it stays in the token
  escrowctl history, log verify               owner and auditor see, and check, everything

escrowctl help exit-codes tells what the exit code of each command says.`;

function addCommand(parent: Command, row: CommandRow, environment: Environment, setExit: SetExit): Command {
  const command = parent
    .command(row.usage)
    .summary(row.summary)
    .description(row.about === undefined ? row.summary : `${row.summary}\n\n${row.about}`)
    .addHelpText('after', `\nExamples:\n${row.examples.map((line) => `  $ escrowctl ${line}`).join('\n')}`);
  for (const option of row.options ?? []) command.addOption(optionOf(option));
  command.action(async () => {
    const options = command.optsWithGlobals();
    const result = await runRow(row, new CommandArguments(command.args, options), environment);
    report(result, options['json'] === true, environment);
    setExit(EXIT_CODES[result.exit ?? 'ok'].code);
  });
  return command;
}

async function runRow(row: CommandRow, given: CommandArguments, environment: Environment): Promise<Result> {
  const session = new Session(environment, readSettings(given, environment.variables));
  try {
    return await row.run(session, given);
  } finally {
    session.close();
  }
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

function report(result: Result, isJson: boolean, { terminal }: Environment): void {
  if (result.raw !== undefined) {
    terminal.write(result.raw);
    return;
  }
  if (isJson) {
    terminal.write(`${printableJson(JSON.stringify(result.json, undefined, 2))}\n`);
    return;
  }
  const next = result.next === undefined ? [] : ['', `Next: ${result.next}`];
  terminal.write(`${[...result.lines, ...next].map(printable).join('\n')}\n`);
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
