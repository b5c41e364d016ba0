import { spawn } from 'node:child_process';
import { copyFile, mkdir, open, readFile, readlink, realpath, stat, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Binaries } from './binaries.js';
import { ClusterError } from './errors.js';
import { codeOf } from '../system/errors.js';
import { own, requireOwn, type ClusterPaths } from './paths.js';
import { writeWhole } from '../system/files.js';
import { daemonRole, databaseName, ownerRole } from './initialise.js';
import { bareEnvironment, identity, type RunUser } from './unprivileged.js';

/** A server process that runs on the cluster's data, whoever started it. */
export interface Postmaster {
  readonly pid: number;
  /** Where its socket is; unknown in its first instants. */
  readonly socketDirectory: string | undefined;
}

/** A server process that this daemon started: whether it has ended, by itself or not at all. */
export interface Launched {
  hasEnded(): boolean;
}

/** The port is only a part of the socket's name. */
export const port = 5432;

/**
 * What must hold, whatever postgresql.conf says: the command line wins over it, and over ALTER SYSTEM. Nobody but the
 * two roles, by the socket and by password; what is committed is on the disk. The rest is for a small server that shares
 * its host.
 */
const settings = {
  listen_addresses: '',
  port: String(port),
  unix_socket_permissions: '0700',
  password_encryption: 'scram-sha-256',
  fsync: 'on',
  full_page_writes: 'on',
  synchronous_commit: 'on',
  restart_after_crash: 'on',
  cluster_name: 'escrowd',
  max_connections: '50',
  shared_buffers: '64MB',
  maintenance_work_mem: '64MB',
  max_parallel_workers_per_gather: '0',
  max_wal_senders: '0',
  jit: 'off',
  timezone: 'UTC',
  log_timezone: 'UTC',
  log_destination: 'stderr',
  logging_collector: 'off',
  log_line_prefix: '%m [%p] %q%u ',
  log_checkpoints: 'off',
} as const satisfies Record<string, string>;

/** No rule lets anyone else in, the bootstrap superuser included. */
const accessRules = `# Written at every start of the server.\nlocal ${databaseName} ${ownerRole},${daemonRole} scram-sha-256\n`;

/** The log is cut at this size, and what was in it kept once. */
const logLimitBytes = 8 * 1024 * 1024;
/** How long a server that was told to drop everything may need for it. */
const immediateStopMs = 5000;

/**
 * Starts the server: in a session of its own, so that no Ctrl-C reaches it, and with nothing of the daemon's open.
 * Resolves when it was launched, not when it answers. Of several that are launched at once PostgreSQL lets one run.
 */
export async function launch(
  paths: ClusterPaths,
  socketDirectory: string,
  binaries: Binaries,
  user: RunUser | undefined,
): Promise<Launched> {
  const rules = join(paths.home, 'pg_hba.conf');
  await writeWhole(rules, 0o644, async (file) => {
    await file.writeFile(accessRules);
    // after the umask, which may be narrower than what the server's user needs
    await file.chmod(0o644);
  });
  const made = await mkdir(socketDirectory, { recursive: true });
  if (made !== undefined || socketDirectory === paths.socketDirectory) await own(socketDirectory, user);
  else await requireOwn(socketDirectory, user);
  await boundLog(paths);
  const given = { ...settings, hba_file: rules, unix_socket_directories: quote(socketDirectory) };
  const log = await open(logFile(paths), 'a', 0o600);
  try {
    const child = spawn(
      join(binaries.directory, 'postgres'),
      ['-D', paths.data, ...Object.entries(given).flatMap(([name, value]) => ['-c', `${name}=${value}`])],
      {
        ...identity(user),
        cwd: '/',
        env: bareEnvironment(),
        detached: true,
        stdio: ['ignore', log.fd, log.fd],
      },
    );
    let ended = false;
    child.once('exit', () => (ended = true));
    child.once('error', (error) => {
      ended = true;
      void log.appendFile(`${error.message}\n`).catch(() => undefined);
    });
    child.unref();
    // 'error' is told in the next turn at the latest.
    await delay(0);
    return { hasEnded: () => ended };
  } finally {
    await log.close();
  }
}

/**
 * The server that runs on this data directory, as its postmaster.pid says, if that is still true: the process lives and
 * (where the system tells) works in this very directory. A stale file is left to PostgreSQL, which knows what to do.
 */
export async function findPostmaster(data: string): Promise<Postmaster | undefined> {
  const text = await readFile(join(data, 'postmaster.pid'), 'utf8').catch((error: unknown) => {
    if (codeOf(error) === 'ENOENT') return '';
    throw error;
  });
  const [pidLine, dataLine, , , socketLine] = text.split('\n');
  const pid = Number(pidLine);
  // A single-user server writes its id negated: it cannot be adopted.
  if (!Number.isInteger(pid) || pid <= 1 || !(await isAlive(pid))) return undefined;
  const real = await realpath(data);
  const worksIn = await readlink(`/proc/${pid}/cwd`).catch(async (error: unknown) => {
    if (codeOf(error) === 'ENOENT' && process.platform === 'linux') return undefined;
    return dataLine === undefined ? undefined : realpath(dataLine).catch(() => undefined);
  });
  if (worksIn !== real) return undefined;
  return { pid, socketDirectory: socketLine === undefined || socketLine === '' ? undefined : socketLine };
}

/**
 * Fast shutdown: every connection is ended, everything is written, the next start needs no recovery. Resolves when the
 * process is gone. After `timeoutMs` the server is told to drop everything, which loses nothing committed.
 */
export async function shutDown(postmaster: Postmaster, timeoutMs: number): Promise<'clean' | 'immediate'> {
  signal(postmaster, 'SIGINT');
  if (await isGone(postmaster, timeoutMs)) return 'clean';
  signal(postmaster, 'SIGQUIT');
  if (await isGone(postmaster, immediateStopMs)) return 'immediate';
  throw new ClusterError('stop-failed', `the PostgreSQL server, process ${postmaster.pid}, does not stop`);
}

/** Keeps the server's log from growing without end. It is cut where it lies: the server goes on at its new end. */
export async function boundLog(paths: ClusterPaths): Promise<void> {
  const file = logFile(paths);
  const size = await stat(file).then(
    (found) => found.size,
    () => 0,
  );
  if (size <= logLimitBytes) return;
  await copyFile(file, `${file}.1`);
  await truncate(file);
}

/** The last lines that the server wrote. */
export async function logTail(paths: ClusterPaths): Promise<string> {
  const text = await readFile(logFile(paths), 'utf8').catch(() => '');
  return text.trimEnd().split('\n').slice(-6).join('\n');
}

export function logFile(paths: ClusterPaths): string {
  return join(paths.home, 'postgres.log');
}

/** A process that has ended and that nobody has waited for yet is not alive. */
async function isAlive(pid: number): Promise<boolean> {
  try {
    process.kill(pid, 0);
  } catch (error) {
    if (codeOf(error) !== 'EPERM') return false;
  }
  const status = await readFile(`/proc/${pid}/stat`, 'latin1').catch(() => '');
  // proc(5): pid (comm) state ...; comm may hold parentheses and spaces itself.
  return !['Z', 'X'].includes(status.charAt(status.lastIndexOf(')') + 2));
}

async function isGone(postmaster: Postmaster, timeoutMs: number): Promise<boolean> {
  const deadline = performance.now() + timeoutMs;
  while (await isAlive(postmaster.pid)) {
    if (performance.now() >= deadline) return false;
    await delay(10);
  }
  return true;
}

function signal({ pid }: Postmaster, name: 'SIGINT' | 'SIGQUIT'): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if (codeOf(error) !== 'ESRCH') throw error;
  }
}

/** An element of a list of directories, which commas would part and spaces end (PostgreSQL's SplitDirectoriesString). */
function quote(directory: string): string {
  return `"${directory.replaceAll('"', '""')}"`;
}
