import { randomBytes } from 'node:crypto';
import { chmod, chown, lstat, mkdir, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { ClusterError } from './errors.js';
import { codeOf } from '../system/errors.js';
import { createOnce, exists, replaceFile } from '../system/files.js';
import { canReach, makePassage, type RunUser } from './unprivileged.js';

/** Where a cluster lies, as `location.json` in its directory says. */
export interface ClusterPaths {
  /** `ready` once the data was complete: from then on, missing data is a fault and not a first start. */
  readonly state: 'preparing' | 'ready';
  readonly directory: string;
  /**
   * The directory itself, or, when the server's user cannot reach that, a directory of its own elsewhere: so whoever
   * deletes the directory starts with new data.
   */
  readonly home: string;
  /** PostgreSQL's own data directory, in `home`. */
  readonly data: string;
  /** In `home`, the server's user's own. Not the data: a copy of that would have the socket's lock file. */
  readonly socketDirectory: string;
}

/** What is written down: the home where it is another than the directory. */
const LOCATION = z.object({
  state: z.enum(['preparing', 'ready']),
  home: z.string().startsWith('/').optional(),
});

/** sun_path holds 108 bytes with the final NUL on Linux, 104 on macOS and the BSDs. */
const longestSocketPath = process.platform === 'linux' ? 107 : 103;
/** The longest path of a cluster's directory, in bytes: the name of a socket in it is longer. */
export const longestHome = longestSocketPath - '/socket/.s.PGSQL.5432'.length;

/** The paths that were chosen for this directory, if they were. Throws `damaged` when `location.json` does not say. */
export async function readPaths(directory: string): Promise<ClusterPaths | undefined> {
  if (!(await exists(locationFile(directory)))) return undefined;
  const location = await readJson(locationFile(directory), LOCATION);
  if (location === undefined) {
    throw new ClusterError('damaged', `${locationFile(directory)} does not say where the cluster is`);
  }
  const home = location.home ?? directory;
  return pathsIn({ state: location.state, directory, home });
}

/**
 * Chooses the paths of a new cluster and writes them down; of several daemons that do so at once all get the same.
 * `directory` exists and is a real path.
 */
export async function choosePaths(
  directory: string,
  user: RunUser | undefined,
  sharedDirectory: string,
): Promise<ClusterPaths> {
  const elsewhere = join(sharedDirectory, randomBytes(8).toString('hex'));
  const home = (await canReach(dirname(directory), user)) ? directory : elsewhere;
  await writePaths({ state: 'preparing', directory, home }, createOnce);
  return (await readPaths(directory)) ?? pathsIn({ state: 'preparing', directory, home });
}

/** Throws `unreachable` when a socket in the cluster's home would have too long a name. */
export function requireShortPath({ socketDirectory }: Pick<ClusterPaths, 'socketDirectory'>): void {
  if (Buffer.byteLength(join(socketDirectory, '.s.PGSQL.5432')) > longestSocketPath) {
    throw new ClusterError(
      'unreachable',
      `the path ${socketDirectory} is too long for PostgreSQL's socket in it: with daemon and server stopped, move the cluster's directory to a path of at most ${longestHome} bytes`,
    );
  }
}

/**
 * Makes home, closed to everyone but the daemon's and the server's user. Throws `unreachable` when the latter cannot
 * enter it or a socket in it would have too long a name, and `damaged` when it was there and is gone.
 */
export async function openHome(
  paths: ClusterPaths,
  user: RunUser | undefined,
  sharedDirectory: string,
): Promise<void> {
  const { directory, home } = paths;
  requireShortPath(paths);
  if (home !== directory) {
    if (paths.state === 'preparing') {
      await makePassage(sharedDirectory);
      await mkdir(home, { recursive: true, mode: 0o711 });
    } else if (!(await exists(home))) throw missing(paths);
  }
  // Root's: nobody else may list or write it, the server's user passes through to what is its own.
  await chmod(directory, home === directory && user !== undefined ? 0o711 : 0o700);
  await chmod(home, user === undefined ? 0o700 : 0o711);
  if (!(await canReach(home, user))) {
    throw new ClusterError('unreachable', `the user ${user?.name ?? ''} cannot reach ${home}`);
  }
}

/** Writes down that the data is complete. */
export async function markReady(paths: ClusterPaths): Promise<void> {
  if (paths.state === 'preparing') await writePaths({ ...paths, state: 'ready' }, replaceFile);
}

/** The error for a cluster whose data is gone. */
export function missing(paths: ClusterPaths): ClusterError {
  return new ClusterError(
    'damaged',
    `the PostgreSQL data of ${paths.directory} is not in ${paths.home}: restore it from a backup; a new cluster needs a new directory`,
  );
}

/** Gives a directory to the server's user and closes it to everyone else. */
export async function own(path: string, user: RunUser | undefined): Promise<void> {
  if (user !== undefined) await chown(path, user.uid, user.gid);
  await chmod(path, 0o700);
}

/** Throws `unreachable` unless this is a directory of that user, or of the daemon's, which is closed to everyone else. */
export async function requireOwn(path: string, user: RunUser | undefined): Promise<void> {
  const found = await lstat(path);
  const isOwn = found.isDirectory() && found.uid === (user?.uid ?? process.getuid?.());
  if (!isOwn || (found.mode & 0o777) !== 0o700)
    throw new ClusterError('unreachable', `${path} is open to others: start the daemon anew`);
}

/** What a file says; undefined when it is not there, or is something else. Throws when it cannot be read. */
export async function readJson<T>(path: string, schema: z.ZodType<T>): Promise<T | undefined> {
  try {
    return schema.safeParse(JSON.parse(await readFile(path, 'utf8'))).data;
  } catch (error) {
    if (error instanceof SyntaxError || codeOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

type Located = Pick<ClusterPaths, 'state' | 'directory' | 'home'>;

function pathsIn(located: Located): ClusterPaths {
  return {
    ...located,
    data: join(located.home, 'data'),
    socketDirectory: join(located.home, 'socket'),
  };
}

async function writePaths({ state, directory, home }: Located, write: typeof createOnce): Promise<void> {
  const location = { state, ...(home === directory ? {} : { home }) };
  await write(locationFile(directory), `${JSON.stringify(location)}\n`, 0o600);
}

function locationFile(directory: string): string {
  return join(directory, 'location.json');
}
