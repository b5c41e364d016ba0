import { join } from 'node:path';

import { Command, CommanderError, Option } from 'commander';
import { unbroken } from '../system/helpText.js';

import { IdentityError } from '../client/errors.js';
import { EXIT_CODES } from '../daemon/exitCodes.js';
import { TextError } from '../log/entry/plainText.js';
import { messageOf } from '../system/errors.js';
import { install } from './install.js';
import { nextSteps, stepLines } from './nextSteps.js';
import { type InstallationOrder, InstallationRefused } from './order.js';
import { PERSON_OPTIONS } from './participants.js';
import { type InitOptions, readOrder } from './readOrder.js';
import type { Questions } from './questions.js';
import { homePaths } from './unit.js';

/** Where the program stands, and where it writes. */
export interface InitEnvironment {
  readonly packageDirectory: string;
  readonly print: (text: string) => void;
  readonly printError: (text: string) => void;
  /** Where somebody can be asked; undefined where nobody is there. */
  readonly questions: () => Questions | undefined;
}

const EXAMPLES = `
Two administrators at least, who have sent the public.json of: escrowctl identity new DIR --id ID

Examples:
  $ escrowd init /var/lib/escrowd
  $ escrowd init /var/lib/escrowd --origin escrow.example.com/log --listen 0.0.0.0:8443 \\
      --name escrow.example.com --softhsm --administrator ann.json --administrator bob.json \\
      --database 'postgresql://db.example.com/escrowd?sslmode=verify-full&sslrootcert=/etc/ssl/db.crt'

docs/install.md goes through a whole installation.`;

/**
 * Runs `escrowd init` with these arguments and returns the exit code, one of `EXIT_CODES`: writes what an installation is made of into a
 * directory, all of it or nothing, and says what comes next. What no option says is asked for, where there is a terminal.
 */
export async function runInit(argv: readonly string[], environment: InitEnvironment): Promise<number> {
  const { print, printError } = environment;
  let exit: number = EXIT_CODES.clean.code;
  const command = commandOf(environment).action(async (directory: string, options: InitOptions) => {
    const questions = options.json === true ? undefined : environment.questions();
    try {
      const order = await readOrder(directory, options, questions);
      await makeAndTell(order, options.json === true, environment);
    } catch (error) {
      const isKnown = [InstallationRefused, IdentityError, TextError].some((kind) => error instanceof kind);
      exit = (isKnown ? EXIT_CODES.usage : EXIT_CODES.unexpected).code;
      printError(
        options.json === true
          ? `${JSON.stringify({ error: { exit, detail: messageOf(error) } })}\n`
          : `error: ${messageOf(error)}\n`,
      );
    } finally {
      questions?.close();
    }
  });
  try {
    await command.parseAsync([...argv], { from: 'user' });
    return exit;
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    return error.exitCode === 0 ? EXIT_CODES.clean.code : EXIT_CODES.usage.code;
  }

  function commandOf({ packageDirectory }: InitEnvironment): Command {
    const many = (value: string, before: readonly string[] | undefined): readonly string[] => [
      ...(before ?? []),
      value,
    ];
    const made = new Command('escrowd init')
      .configureHelp({ commandDescription: (command) => unbroken(command.description()) })
      .description(
        'Writes what an installation is made of into a directory: the configuration, the first administrators, TLS files, a\n' +
          'first draft of the policy, a unit for systemd. All of it or nothing, and never over what is there. What is not\n' +
          'given here is asked for on the terminal.',
      )
      .argument('<dir>', 'where everything is to be, such as /var/lib/escrowd')
      .option('--origin <name>', 'name of the service and its log, for ever: escrow.example.com/log')
      .option('--listen <host:port>', 'where the API listens (127.0.0.1:8443)')
      .option(
        '--management <host:port>',
        'where the daemon says how it is, or off (127.0.0.1, the next port)',
      )
      .option('--name <name>', 'name or address that clients know the server by; may be repeated', many)
      .addOption(
        new Option(
          '--tls <kind>',
          'a CA and a certificate are made here, or a request for your own CA',
        ).choices(['private-ca', 'request'] as const),
      )
      .option('--tls-cert <file>', 'a certificate that is there already (PEM); it stays where it is')
      .option('--tls-key <file>', 'its key')
      .option('--softhsm', 'for trying out: a software token, with its configuration and directory')
      .option(
        '--profile <name or file>',
        `token profile: a name in ${join(packageDirectory, 'hsm-config')}, or a path`,
      )
      .option('--label <label>', 'label of the token', 'escrowd')
      .option('--module <file>', "the PKCS#11 module, when it is not where the profile's paths say")
      .option('--database <url>', 'a server of PostgreSQL: postgresql://HOST/NAME; else a private one is run')
      .option('--user <name>', 'who the daemon runs as (as root: escrowd; else you)')
      .option('--no-systemd', 'no unit: the PIN is read from a file')
      .option('--no-policy', 'no draft of a policy')
      .option('--json', 'print what was made and what comes next as JSON; nothing is asked')
      .addHelpText('after', EXAMPLES)
      .exitOverride()
      .configureOutput({ writeOut: print, writeErr: printError })
      .showHelpAfterError('(--help says more)');
    for (const name of Object.keys(PERSON_OPTIONS))
      made.option(`--${name} <file>`, `public.json of one ${name}; may be repeated`, many);
    return made;
  }
}

async function makeAndTell(
  order: InstallationOrder,
  isJson: boolean,
  { packageDirectory, print }: InitEnvironment,
): Promise<void> {
  const program = { node: process.execPath, packageDirectory };
  const made = await install(order, program);
  const steps = nextSteps(order, join(packageDirectory, 'scripts'));
  if (isJson) {
    print(`${JSON.stringify({ directory: order.directory, made, next: steps }, undefined, 2)}\n`);
    return;
  }
  const width = Math.max(...made.map(({ path }) => path.length));
  const inHomes = order.isForSystemd ? homePaths([order.directory, program.node, packageDirectory]) : [];
  print(
    [
      `Made in ${order.directory}:`,
      ...made.map(({ path, about }) => `  ${path.padEnd(width)}  ${about}`),
      ...(inHomes.length === 0
        ? []
        : ['', `A service does not belong in a home, which other users cannot enter: ${inHomes.join(', ')}`]),
      '',
      'Next, in this order:',
      ...stepLines(steps),
      '',
    ].join('\n'),
  );
}
