import { execFile, spawn } from 'node:child_process';
import { chmod, mkdir, realpath, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import { ClusterError } from './errors.js';

/** The operating system's user that the server runs as, when it is not the daemon's own. */
export interface RunUser {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
}

/** How a program ended. `code` is null when a signal (the deadline's too) ended it. */
export interface Finished {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Users that may stand in for root, the most private first. */
const standIns = ['escrowd', 'postgres', 'nobody'] as const;

/**
 * The user to run as in root's place: `requested`, or the first of the stand-ins that exists.
 * Throws `no-user` when there is none, or when the one asked for is root itself.
 */
export async function chooseRunUser(requested: string | undefined): Promise<RunUser> {
  for (const name of requested === undefined ? standIns : [requested]) {
    const user = await lookUp(name);
    if (user !== undefined && user.uid !== 0) return user;
  }
  throw new ClusterError(
    'no-user',
    requested === undefined
      ? `PostgreSQL does not run as root, and none of the users ${standIns.join(', ')} exists: create one`
      : `PostgreSQL does not run as root, and "${requested}" is not another user of this system`,
  );
}

/**
 * What to add to spawn's options so that a child runs as `user`. Given a uid and a gid, libuv calls setgroups(0, NULL)
 * before setgid and setuid: the child keeps none of root's supplementary groups. Without a user, nothing changes.
 */
export function identity(user: RunUser | undefined): { uid?: number; gid?: number } {
  return user === undefined ? {} : { uid: user.uid, gid: user.gid };
}

/**
 * What a child of the daemon sees of the environment: nothing of the daemon's own, which may hold a PIN, and no PG*
 * variables. PG_GRANDPARENT_PID lets PostgreSQL recognise a stale lock file that names a reused process id.
 */
export function bareEnvironment(): Record<string, string> {
  return { PATH: '/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC', PG_GRANDPARENT_PID: String(process.ppid) };
}

/** Whether `user` (undefined: the daemon's own) can enter the directory: it and all its parents may be searched. */
export async function canReach(directory: string, user: RunUser | undefined): Promise<boolean> {
  if (user === undefined) return true;
  for (let path = await realpath(directory); ; path = dirname(path)) {
    const { mode, uid, gid } = await stat(path);
    const search = uid === user.uid ? 0o100 : gid === user.gid ? 0o010 : 0o001;
    if ((mode & search) === 0) return false;
    if (path === dirname(path)) return true;
  }
}

/** Makes a directory that others may pass through but not list, unless it is there. */
export async function makePassage(directory: string): Promise<void> {
  const made = await mkdir(directory, { recursive: true, mode: 0o711 });
  // the mode of mkdir is what the umask leaves of it
  if (made !== undefined) await chmod(directory, 0o711);
}

/** Runs a program to its end as `user`, feeding it `input`. Rejects only when it cannot be run at all. */
export async function runToEnd(
  program: string,
  args: readonly string[],
  how: { readonly user: RunUser | undefined; readonly input?: string; readonly timeoutMs: number },
): Promise<Finished> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      ...identity(how.user),
      cwd: '/',
      env: bareEnvironment(),
    });
    // Not spawn's own timeout: its timer stays when the program cannot be run, and would keep the daemon from ending.
    const timer = setTimeout(() => child.kill('SIGKILL'), how.timeoutMs);
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
    child.once('error', (error) => {
      clearTimeout(timer);
      reject(error);
    });
    child.once('close', (code) => {
      clearTimeout(timer);
      resolve({ code, stdout, stderr });
    });
    // A program that ends before it has read everything says why by its exit code, not by EPIPE.
    child.stdin.on('error', () => undefined).end(how.input ?? '');
  });
}

/** Asks `id`, so that users of every name service are found (and those of macOS, which are not in /etc/passwd). */
async function lookUp(name: string): Promise<RunUser | undefined> {
  if (!/^[A-Za-z_][A-Za-z0-9_.-]*$/.test(name)) return undefined;
  try {
    const [uid, gid] = await Promise.all([idOf('-u', name), idOf('-g', name)]);
    return { name, uid, gid };
  } catch {
    return undefined;
  }
}

async function idOf(what: '-u' | '-g', name: string): Promise<number> {
  const { stdout } = await promisify(execFile)('id', [what, name]);
  return Number(stdout.trim());
}
