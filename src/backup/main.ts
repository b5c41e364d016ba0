#!/usr/bin/env node
import { NATIVE_DRIVER } from '../system/nativeDriver.js';

import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

import { Command } from 'commander';

import { ConfigError } from '../daemon/start/configError.js';
import { CopyRefused } from '../postgres/databaseCopy.js';
import { ClusterError } from '../privatePostgres/errors.js';
import { messageOf } from '../system/errors.js';
import { writeNewFile } from '../system/files.js';
import { CeremonyRefused } from '../token/ceremony/ceremonySession.js';
import { obtainPin } from '../token/ceremony/pins.js';
import { versionLine } from '../version.js';
import { makeBackup } from './backup.js';
import { drill } from './drill.js';
import { BackupError } from './faults.js';
import { removeAll, restoreBackup, type RestoreOrder, type Restored } from './restore.js';

const packageDirectory = resolve(dirname(fileURLToPath(import.meta.url)), '..', '..');
const environment = { ...process.env, ...NATIVE_DRIVER };
/** Set by a signal. */
let endedWith: number | undefined;

interface BackupOptions {
  readonly config: string;
  readonly to: string;
  readonly recipient?: readonly string[];
  readonly json?: boolean;
}

interface RestoreOptions {
  readonly to?: string;
  readonly identity?: string;
  readonly drill?: boolean;
  readonly userPinFile?: string;
  readonly profile?: string;
  readonly json?: boolean;
}

const print = (text: string): void => void process.stdout.write(`${text}\n`);
const tell = (line: string): void => void process.stderr.write(`${line}\n`);

function backupCommand(): Command {
  return new Command('backup')
    .version(versionLine('backup'), '--version', 'say which version this is')
    .description(
      'Backs up an escrowd, while it serves or not: database, configuration, records, and the token where it is\n' +
        "SoftHSM's. Never a PIN or another secret file. Asks nobody and changes nothing.",
    )
    .requiredOption(
      '--config <file>',
      "the daemon's configuration; DATABASE_URL is read as the daemon reads it",
    )
    .requiredOption('--to <file>', 'the backup to make; nothing is written over')
    .option('--recipient <age1...>', 'encrypt it to this age recipient; may stand several times', collect)
    .option(
      '--profile <file>',
      'for a drill: the token profile, when it is not one of those that come with escrowd',
    )
    .option('--json', 'print as JSON')
    .addHelpText(
      'after',
      '\nExit codes: 0 the backup is whole and on disk, 1 there is none, 2 the command line is not right.',
    )
    .action(async (options: BackupOptions) => {
      const recipients = options.recipient ?? [];
      const common = { packageDirectory, environment, now: new Date(), tell };
      const to = resolve(options.to);
      const { about, manifest } = await makeBackup({
        configFile: resolve(options.config),
        to,
        recipients,
        ...common,
      });
      if (options.json === true) {
        print(JSON.stringify({ backup: to, about, ...manifest, files: manifest.files.length }, null, 2));
        return;
      }
      print(
        `Backed up ${counts(manifest.rows)} of ${about.origin} to ${to}${recipients.length > 0 ? ', encrypted' : ''}.`,
      );
      if (!about.token.included)
        print(
          `The token "${about.token.label}" is not in it: back it up with its vendor's tools, after every enrolment.`,
        );
      print(`Not in it, keep them where you keep secrets: ${manifest.secrets.join(', ')}.`);
      print(`next: try it: scripts/restore ${to} --drill`);
    });
}

function restoreCommand(): Command {
  return new Command('restore')
    .version(versionLine('restore'), '--version', 'say which version this is')
    .description(
      'Restores a backup into a directory of its own, with a private database, or into the empty database that\n' +
        'DATABASE_URL and DATABASE_OWNER_URL name. Touches nothing else, least of all a token in use.',
    )
    .argument('<backup>', 'what scripts/backup has made')
    .option('--to <directory>', 'where to: a directory that is not there yet, or empty')
    .option('--identity <file>', 'age identities (AGE-SECRET-KEY-1..., one a line), for an encrypted backup')
    .option(
      '--drill',
      'restore into a scratch directory, start what was restored, stop it, and remove it again',
    )
    .option('--user-pin-file <file>', 'for a drill: read the user PIN from here instead of asking')
    .option('--json', 'print as JSON')
    .addHelpText(
      'after',
      '\nExit codes: 0 done, 1 it could not be restored, or what was restored does not start, 2 the command line is not right.',
    )
    .action(async (backup: string, options: RestoreOptions) => {
      if ((options.drill === true) === (options.to !== undefined)) {
        throw new BackupError(
          'name a directory (--to DIRECTORY), or try the backup in a scratch one (--drill)',
        );
      }
      await (options.drill === true
        ? tryBackup(backup, options)
        : restoreTo(backup, options.to ?? '', options));
    });
}

async function restoreTo(backup: string, directory: string, options: RestoreOptions): Promise<void> {
  const stop = untilEnded();
  const restored = await restore(backup, resolve(directory), options, { server: serverOf(), stop });
  const { about, manifest, configFile, lost } = restored;
  if (options.json === true) {
    print(JSON.stringify({ restored: dirname(configFile), about, secrets: manifest.secrets, lost }, null, 2));
    return;
  }
  print(
    `Restored ${counts(manifest.rows)} of ${about.origin}, as of ${about.madeAt}, to ${dirname(configFile)}.`,
  );
  if (lost.length > 0)
    print(`Of ${lost.length} keys there is no deposit as it was logged: ${lost.join(', ')}.`);
  if (!about.token.included)
    print(
      `The token is not in the backup (its label was "${about.token.label}"): name one in token.label of ${configFile}. ` +
        'In a drill never the one in use.',
    );
  print(`next: put there what no backup holds (${manifest.secrets.join(', ')}), mode 0600, then`);
  print(`  scripts/escrowd --config ${configFile}`);
  print(
    'What came after the backup is not there. A token that remembers more refuses it: see "An old database" in docs/operations.md.',
  );
}

async function tryBackup(backup: string, options: RestoreOptions): Promise<void> {
  const scratch = await mkdtemp(join(tmpdir(), 'escrowd-drill-'));
  const place = join(scratch, 'restored');
  const stop = untilEnded();
  try {
    const restored = await restore(backup, place, options, { server: undefined, stop });
    const pinFile = resolve(options.userPinFile ?? (await typedPin(scratch)));
    const { profile } = options;
    const report = await drill(restored, { pinFile, profile, packageDirectory, environment, stop });
    const { about } = restored;
    if (options.json === true) print(JSON.stringify({ about, ...report }, null, 2));
    else {
      print(
        `The backup of ${about.origin}, as of ${about.madeAt}, starts: the token proved itself, and the log of`,
      );
      print(
        `${report.entries} entries holds against its checkpoint and what the token remembers. ${report.keys} keys are deposited, as logged.`,
      );
      if (report.missing.length > 0)
        print(
          `The token is older than the database; it does not hold: ${report.missing.join(', ')}. Those grants and requests are gone.`,
        );
      print('next: nothing; the scratch copy is removed. Recovering a key needs its depositaries as well.');
    }
  } finally {
    await removeAll(place);
    await rm(scratch, { recursive: true, force: true });
  }
}

/** A PIN that was typed is in a file as long as the drill lasts: the daemon reads it there. */
async function typedPin(scratch: string): Promise<string> {
  const pin = await obtainPin('user', undefined);
  const file = join(scratch, 'user.pin');
  await writeNewFile(file, pin, 0o600);
  pin.fill(0);
  return file;
}

/** What a program that is told to end goes by: it ends what it does, takes back what it has begun, and has this exit code. */
function untilEnded(): AbortSignal {
  const ending = new AbortController();
  const signals = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;
  for (const [signal, code] of Object.entries(signals))
    process.once(signal, () => {
      endedWith = code;
      ending.abort();
    });
  return ending.signal;
}

async function restore(
  backup: string,
  to: string,
  { identity }: RestoreOptions,
  more: Pick<RestoreOrder, 'server' | 'stop'>,
): Promise<Restored> {
  const identities = identity === undefined ? [] : await readIdentities(identity);
  return restoreBackup({
    from: resolve(backup),
    identities,
    to,
    ...more,
    packageDirectory,
    environment,
    tell,
  });
}

/** Lines that are not comments, as age-keygen writes them. */
async function readIdentities(file: string): Promise<readonly string[]> {
  const text = await readFile(file, 'utf8').catch((cause: unknown) => {
    throw new BackupError(`${file} cannot be read`, { cause });
  });
  return text.split(/\r?\n/).filter((line) => line !== '' && !line.startsWith('#'));
}

function serverOf(): { readonly ownerUrl: string; readonly daemonUrl: string } | undefined {
  const { DATABASE_URL: daemonUrl, DATABASE_OWNER_URL: ownerUrl } = environment;
  if (daemonUrl === undefined && ownerUrl === undefined) return undefined;
  if (daemonUrl !== undefined && ownerUrl !== undefined) return { daemonUrl, ownerUrl };
  throw new BackupError(
    'a server needs both roles: DATABASE_URL for the daemon, DATABASE_OWNER_URL for the schema',
  );
}

function counts(rows: Readonly<Record<string, number>>): string {
  return `${rows['deposit'] ?? 0} keys and ${rows['log_entry'] ?? 0} entries of the log`;
}

function collect(value: string, before: readonly string[] | undefined): readonly string[] {
  return [...(before ?? []), value];
}

const [, , name, ...rest] = process.argv;
const command = name === 'backup' ? backupCommand() : restoreCommand();
try {
  await command.exitOverride().parseAsync(rest, { from: 'user' });
} catch (error) {
  const code = exitCodeOf(error);
  process.exitCode = endedWith ?? code;
}

/** What commander has said itself is not said again. */
function exitCodeOf(error: unknown): number {
  const { code, exitCode } = Object(error) as { readonly code?: unknown; readonly exitCode?: unknown };
  if (typeof code === 'string' && code.startsWith('commander.')) return exitCode === 0 ? 0 : 2;
  const isKnown =
    error instanceof BackupError ||
    error instanceof ConfigError ||
    error instanceof ClusterError ||
    error instanceof CopyRefused ||
    error instanceof CeremonyRefused;
  process.stderr.write(`error: ${isKnown ? '' : 'something unexpected went wrong: '}${messageOf(error)}\n`);
  return 1;
}
