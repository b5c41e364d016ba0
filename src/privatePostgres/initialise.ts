import { createHash, createHmac, pbkdf2Sync, randomBytes } from 'node:crypto';
import { mkdir, readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import type { Binaries } from './binaries.js';
import { ClusterError } from './errors.js';
import { own, readJson, type ClusterPaths } from './paths.js';
import { createOnce, DRAFT, exists, syncDirectory } from '../system/files.js';
import { runToEnd, type RunUser } from './unprivileged.js';

/** The names in every private cluster. */
export const databaseName = 'escrowd';
export const ownerRole = 'escrowd_owner';
export const daemonRole = 'escrowd_daemon';

/** A file's draft exists for milliseconds before it is renamed: an older one is nobody's. */
const smallDraftAgeMs = 60_000;

/** The passwords of the two roles that may log in. They exist in one file, which only the daemon's user can read. */
export type Passwords = Readonly<z.infer<typeof PASSWORDS>>;

const PASSWORDS = z.object({ owner: z.string(), daemon: z.string() });

/**
 * The passwords of the cluster in `paths`, made up (and durable) when it has no data yet.
 * Throws `damaged` when there is data and its passwords are gone.
 */
export async function settlePasswords(paths: ClusterPaths): Promise<Passwords> {
  const file = join(paths.directory, 'passwords.json');
  if (!(await exists(paths.data))) {
    const fresh: Passwords = { owner: makePassword(), daemon: makePassword() };
    await createOnce(file, `${JSON.stringify(fresh)}\n`, 0o600);
  }
  const passwords = await readJson(file, PASSWORDS);
  if (passwords === undefined) {
    throw new ClusterError(
      'damaged',
      `${file}, the passwords of the cluster in ${paths.home}, cannot be read`,
    );
  }
  return passwords;
}

/**
 * Makes the cluster's data, complete with roles and database, beside its path and renames it there: a kill at any
 * instant leaves no half cluster. Of several daemons that do so at once one succeeds and the others take what it made.
 *
 * The bootstrap superuser gets no password and the cluster no rule that lets it in: what PostgreSQL forbids to everyone
 * but a superuser is forbidden to everyone who connects.
 */
export async function initialise(
  paths: ClusterPaths,
  how: {
    readonly binaries: Binaries;
    readonly user: RunUser | undefined;
    readonly passwords: Passwords;
    readonly timeoutMs: number;
  },
): Promise<void> {
  const draft = join(paths.home, `data.${randomBytes(6).toString('hex')}.new`);
  try {
    await mkdir(draft, { mode: 0o700 });
    await own(draft, how.user);
    await step(how, 'initdb', [
      ...['-D', draft, '--username=postgres', '--auth=reject', '--encoding=UTF8', '--locale=C'],
      ...['--data-checksums', '--no-instructions'],
    ]);
    await step(
      how,
      'postgres',
      // Alone with the files: no socket is open before the roles have their passwords.
      ['--single', '-D', draft, '-c', 'exit_on_error=on', 'postgres'],
      rolesAndDatabase(how.passwords),
    );
    await rename(draft, paths.data);
    await syncDirectory(paths.home);
  } catch (error) {
    await rm(draft, { recursive: true, force: true });
    // Another daemon was quicker: its cluster has the same passwords, which are created once.
    if (!(await exists(paths.data))) throw error;
  }
}

/**
 * Removes what daemons that were killed in their first start left. Only who holds the cluster's lock may: then nobody
 * needs another draft of the data, and a daemon that is still at one is told that the cluster is in use. Drafts of small
 * files are left for a while, in which another daemon may be about to rename its own.
 */
export async function sweepDrafts(paths: ClusterPaths): Promise<void> {
  for (const directory of new Set([paths.directory, paths.home])) {
    const left = (await readdir(directory)).filter((name) => DRAFT.test(name));
    await Promise.allSettled(
      left.map(async (name) => {
        const path = join(directory, name);
        const isData = directory === paths.home && name.startsWith('data.');
        if (!isData && Date.now() - (await stat(path)).mtimeMs < smallDraftAgeMs) return;
        await rm(path, { recursive: true, force: true });
      }),
    );
  }
}

async function step(
  how: {
    readonly binaries: Binaries;
    readonly user: RunUser | undefined;
    readonly timeoutMs: number;
  },
  program: 'initdb' | 'postgres',
  args: readonly string[],
  input = '',
): Promise<void> {
  const ended = await runToEnd(join(how.binaries.directory, program), args, { ...how, input });
  if (ended.code === 0) return;
  const reason = ended.code === null ? `did not end within ${how.timeoutMs} ms` : ended.stderr.trim();
  throw new ClusterError('initialise-failed', `${program} could not make the cluster: ${reason}`);
}

/** One statement a line, as the single-user server reads them. It sees verifiers, never a password. */
function rolesAndDatabase(passwords: Passwords): string {
  const role = (name: string, password: string): string =>
    `CREATE ROLE ${name} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS PASSWORD '${scramVerifier(password)}';`;
  return [
    role(ownerRole, passwords.owner),
    role(daemonRole, passwords.daemon),
    `CREATE DATABASE ${databaseName} OWNER ${ownerRole};`,
    `REVOKE ALL ON DATABASE ${databaseName} FROM PUBLIC;`,
    `GRANT CONNECT ON DATABASE ${databaseName} TO ${daemonRole};`,
    '',
  ].join('\n');
}

/** What a server checks a password by: RFC 5802 section 3, with SHA-256 (RFC 7677), in the form of pg_authid.rolpassword. The password is ASCII: SASLprep changes nothing. */
export function scramVerifier(password: string): string {
  const iterations = 4096;
  const salt = randomBytes(16);
  const salted = pbkdf2Sync(password, salt, iterations, 32, 'sha256');
  const hmac = (text: string): Buffer => createHmac('sha256', salted).update(text).digest();
  const storedKey = createHash('sha256').update(hmac('Client Key')).digest('base64');
  const serverKey = hmac('Server Key').toString('base64');
  return `SCRAM-SHA-256$${iterations}:${salt.toString('base64')}$${storedKey}:${serverKey}`;
}

function makePassword(): string {
  return randomBytes(32).toString('base64url');
}
