import { readFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import { join, resolve } from 'node:path';

import { Command, CommanderError, Option } from 'commander';
import { unbroken } from '../system/helpText.js';

import { IdentityError } from '../client/errors.js';
import { type PublicPart, parsePublicPart } from '../client/identity/publicPart.js';
import { EXIT_CODES } from '../daemon/exitCodes.js';
import { parsePrincipalId } from '../escrow/records/ids.js';
import { TextError, decodeText } from '../log/entry/plainText.js';
import { messageOf } from '../system/errors.js';
import { install } from './install.js';
import { nextSteps, stepLines } from './nextSteps.js';
import {
  type Address,
  type InstallationOrder,
  InstallationRefused,
  PART_ROLES,
  type PartRole,
  type Participant,
  type TlsOrder,
  isServerName,
  readAddress,
  readDatabaseAddress,
} from './order.js';
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

/** As typed. */
interface InitOptions extends Partial<Readonly<Record<PersonOption, readonly string[]>>> {
  readonly origin?: string;
  readonly listen?: string;
  readonly management?: string;
  readonly name?: readonly string[];
  readonly tls?: 'private-ca' | 'request';
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly softhsm?: boolean;
  readonly profile?: string;
  readonly label: string;
  readonly module?: string;
  readonly database?: string;
  readonly user?: string;
  readonly systemd: boolean;
  readonly policy: boolean;
  readonly json?: boolean;
}

const PERSON_OPTIONS = {
  administrator: 'admin',
  depositary: 'depositary',
  owner: 'owner',
  app: 'app',
  auditor: 'auditor',
} as const satisfies Readonly<Record<string, PartRole>>;
type PersonOption = keyof typeof PERSON_OPTIONS;

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

/** The order that options and answers make. @throws InstallationRefused naming what is missing or wrong */
async function readOrder(
  directory: string,
  options: InitOptions,
  questions: Questions | undefined,
): Promise<InstallationOrder> {
  const ask = async (
    given: string | undefined,
    option: string,
    question: string,
    usual?: string,
  ): Promise<string> => {
    if (given !== undefined) return given;
    if (questions !== undefined) return questions.ask(question, usual);
    if (usual !== undefined) return usual;
    throw new InstallationRefused(`${option} is needed, and there is no terminal to ask on`);
  };
  const origin = await ask(
    options.origin,
    '--origin',
    'Name of the service and its log, for ever, such as escrow.example.com/log',
  );
  const listen = readAddress(
    await ask(options.listen, '--listen', 'Listen where (HOST:PORT)', '127.0.0.1:8443'),
    '--listen',
  );
  const names = await readNames(options, listen, questions);
  const tls = await readTls(options, ask);
  const token = await readToken(options, ask);
  const participants = await readParticipants(options, questions);
  const database = await ask(
    options.database,
    '--database',
    'PostgreSQL (a URL without user and password), or nothing for a private one',
    '',
  );
  return {
    directory: resolve(directory),
    origin,
    listen,
    management: readManagement(options.management, listen),
    names,
    tls,
    token,
    participants,
    database: database === '' ? undefined : readDatabaseAddress(database),
    user: options.user ?? usualUser(options),
    isForSystemd: options.systemd,
    hasPolicy: options.policy,
  };
}

type Ask = (given: string | undefined, option: string, question: string, usual?: string) => Promise<string>;

function usualUser({ systemd }: InitOptions): string {
  if (process.getuid?.() === 0) return systemd ? 'escrowd' : 'root';
  try {
    return userInfo().username;
  } catch {
    throw new InstallationRefused('--user is needed: the system has no name for you');
  }
}

function readManagement(given: string | undefined, listen: Address): Address | 'off' {
  if (given === 'off') return 'off';
  return given === undefined
    ? { host: '127.0.0.1', port: listen.port === 65_535 ? listen.port - 1 : listen.port + 1 }
    : readAddress(given, '--management');
}

async function readNames(
  { name }: InitOptions,
  { host }: Address,
  questions: Questions | undefined,
): Promise<readonly string[]> {
  const isEverywhere = host === '0.0.0.0' || host === '::';
  const isLoopback = host === 'localhost' || host === '::1' || host.startsWith('127.');
  const usual = isEverywhere ? [] : isLoopback ? [...new Set([host, 'localhost'])] : [host];
  const asked =
    name ??
    (await questions?.askMany(
      `Name or address that clients know the server by${usual.length === 0 ? '' : ` (besides ${usual.join(', ')})`}`,
    ));
  const names = [...new Set([...(asked ?? []), ...(name === undefined ? usual : [])])];
  if (names.length === 0)
    throw new InstallationRefused(
      '--name is needed: what do clients call the server, such as escrow.example.com?',
    );
  for (const each of names)
    if (!isServerName(each))
      throw new InstallationRefused(
        `--name: "${each}" is no name of a server, in lower case, and no address`,
      );
  return names;
}

async function readTls({ tls, tlsCert, tlsKey }: InitOptions, ask: Ask): Promise<TlsOrder> {
  if ((tlsCert === undefined) !== (tlsKey === undefined))
    throw new InstallationRefused('--tls-cert and --tls-key belong together');
  if (tlsCert !== undefined && tlsKey !== undefined) {
    if (tls !== undefined)
      throw new InstallationRefused('--tls makes a key, and --tls-cert brings one: give one of them');
    return { kind: 'files', certificate: resolve(tlsCert), key: resolve(tlsKey) };
  }
  const kind = await ask(tls, '--tls', 'TLS: private-ca, or request (for a CA of your own)', 'private-ca');
  if (kind !== 'private-ca' && kind !== 'request')
    throw new InstallationRefused(`--tls is private-ca or request, not "${kind}"`);
  return { kind };
}

async function readToken(options: InitOptions, ask: Ask): Promise<InstallationOrder['token']> {
  const { softhsm, label, module } = options;
  const answer = await ask(
    options.profile ?? (softhsm === true ? 'softhsm-2.6' : undefined),
    '--softhsm or --profile',
    'Token profile (softhsm-2.6 for trying out, nss-softokn-3, or the path of your own)',
  );
  const profile = answer.includes('/') ? resolve(answer) : answer;
  return {
    profile,
    label,
    module: module === undefined ? undefined : resolve(module),
    isSoftHsm: softhsm === true || /^softhsm-[0-9.]+$/.test(profile),
  };
}

/** Everybody once, with the roles that they are named for. */
async function readParticipants(
  options: InitOptions,
  questions: Questions | undefined,
): Promise<readonly Participant[]> {
  const found = new Map<string, { file: string; roles: PartRole[]; part: PublicPart }>();
  for (const [option, role] of Object.entries(PERSON_OPTIONS) as [PersonOption, PartRole][]) {
    const files = options[option] ?? (await questions?.askMany(`public.json of one ${option}`)) ?? [];
    for (const file of files) {
      const part = readPart(file);
      const before = found.get(part.id);
      if (before !== undefined && JSON.stringify(before.part) !== JSON.stringify(part))
        throw new InstallationRefused(
          `${before.file} and ${file} are both about ${part.id}, and have different keys`,
        );
      if (before === undefined) found.set(part.id, { file, roles: [role], part });
      else if (!before.roles.includes(role)) before.roles.push(role);
    }
  }
  const participants = [...found].map(([id, { roles, part }]) => ({
    id,
    roles: PART_ROLES.filter((role) => roles.includes(role)),
    part,
  }));
  refuseRoles(participants);
  return participants;
}

function refuseRoles(participants: readonly Participant[]): void {
  for (const { id, roles, part } of participants) {
    if (roles.includes('app') && roles.length > 1)
      throw new InstallationRefused(
        `${id} is named as an app and as ${roles.find((role) => role !== 'app') ?? ''}: an app is no person`,
      );
    if (roles.includes('depositary') && part.depositaryKey === undefined)
      throw new InstallationRefused(
        `${id} has no key that shares go to: escrowctl identity new DIR --id ${id} --depositary makes one`,
      );
  }
  if (participants.filter(({ roles }) => roles.includes('admin')).length < 2)
    throw new InstallationRefused(
      '--administrator is needed for two different people, at least: nobody changes rules alone',
    );
}

function readPart(file: string): PublicPart {
  let text: string;
  try {
    text = decodeText(readFileSync(file), file);
  } catch (error) {
    if (error instanceof TextError) throw error;
    throw new InstallationRefused(`${file} cannot be read: ${messageOf(error)}`, { cause: error });
  }
  try {
    const part = parsePublicPart(text);
    if (parsePrincipalId(part.id) === undefined)
      throw new InstallationRefused(`${file}: "${part.id}" is not an id`);
    return part;
  } catch (error) {
    if (!(error instanceof IdentityError)) throw error;
    throw new InstallationRefused(`${file}: ${error.message}`, { cause: error });
  }
}
