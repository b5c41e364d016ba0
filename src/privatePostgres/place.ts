import { randomBytes } from 'node:crypto';
import { chmod, chown, lstat, mkdir, mkdtemp, readFile, realpath } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { ClusterError } from './errors.js';
import { codeOf } from '../system/errors.js';
import { createOnce, exists, replaceFile } from '../system/files.js';
import { canReach, makePassage, type RunUser } from './unprivileged.js';

/**
 * Where a cluster lies, as `location.json` in its directory says. `home` is the directory itself, or, when the server's
 * user cannot reach that, a directory of its own elsewhere: so whoever deletes the directory starts with new data.
 */
export interface ClusterPaths {
  /** `ready` once the data was complete: from then on, missing data is a fault and not a first start. */
  readonly state: 'preparing' | 'ready';
  readonly directory: string;
  readonly home: string;
  /** PostgreSQL's own data directory, in `home`. */
  readonly data: string;
  readonly socketDirectory: string;
}

/** What the places that the configuration does not name are made from. */
export interface Surroundings {
  /** Where, as root, clusters lie whose directory the server's user cannot reach. */
  readonly sharedDirectory: string;
  /** Where a socket goes whose path would be too long otherwise. */
  readonly temporaryDirectory: string;
}

/** The part of a place that is written down: what is not given lies in the directory itself. */
interface Location {
  readonly state: 'preparing' | 'ready';
  readonly home?: string;
  readonly socketDirectory?: string;
}

/** The name that PostgreSQL gives its socket on the port that it is always given here. */
const socketName = '.s.PGSQL.5432';
/** sun_path holds 108 bytes with the final NUL on Linux, 104 on macOS and the BSDs. */
const longestSocketPath = process.platform === 'linux' ? 107 : 103;

/** The place that was chosen for this directory, if one was. */
export async function readPlace(directory: string): Promise<ClusterPaths | undefined> {
  const location = await readLocation(directory);
  return location === undefined ? undefined : placeOf(directory, location);
}

/**
 * Chooses a place for a new cluster and writes it down; of several daemons that do so at once all get the same.
 * `directory` exists and is a real path.
 */
export async function choosePlace(
  directory: string,
  user: RunUser | undefined,
  around: Surroundings,
): Promise<ClusterPaths> {
  const here = await canReach(dirname(directory), user);
  const location: Location = {
    state: 'preparing',
    ...(here ? {} : { home: join(around.sharedDirectory, randomBytes(8).toString('hex')) }),
  };
  await createOnce(locationFile(directory), `${JSON.stringify(location)}\n`, 0o600);
  const chosen = await readLocation(directory);
  if (chosen === undefined) throw damaged(directory);
  return placeOf(directory, chosen);
}

/**
 * Makes home and the socket's directory, closed to everyone but the daemon's and the server's user, and checks that the
 * latter can enter. Returns the place with the socket directory that is in use from now on.
 */
export async function openPlace(
  place: ClusterPaths,
  user: RunUser | undefined,
  around: Surroundings,
): Promise<ClusterPaths> {
  if (place.home !== place.directory) {
    if (place.state === 'preparing') await makeHome(place.home, around.sharedDirectory);
    else if (!(await exists(place.home))) throw missing(place);
  }
  // Root's: nobody else may list or write it, the server's user passes through to what is its own.
  await chmod(place.directory, place.home === place.directory && user !== undefined ? 0o711 : 0o700);
  await chmod(place.home, user === undefined ? 0o700 : 0o711);
  if (!(await canReach(place.home, user))) {
    throw new ClusterError('unreachable', `the user ${user?.name ?? ''} cannot reach ${place.home}`);
  }
  return openSocketDirectory(place, user, around.temporaryDirectory);
}

/** Makes the socket's directory again when it is gone, under the name that it had. */
export async function restoreSocketDirectory(place: ClusterPaths, user: RunUser | undefined): Promise<void> {
  try {
    await mkdir(place.socketDirectory, { mode: 0o700 });
    await own(place.socketDirectory, user);
  } catch (error) {
    if (codeOf(error) !== 'EEXIST') throw error;
    if (!(await isPrivate(place.socketDirectory, user))) throw error;
  }
}

/** Writes down that the data is complete. */
export async function markReady(place: ClusterPaths): Promise<void> {
  if (place.state === 'preparing') await writePlace({ ...place, state: 'ready' });
}

/** The error for a cluster whose data is gone. */
export function missing(place: ClusterPaths): ClusterError {
  return new ClusterError(
    'damaged',
    `the PostgreSQL data of ${place.directory} is not in ${place.home}: restore it from a backup; a new cluster needs a new directory`,
  );
}

/** Gives a directory to the server's user and closes it to everyone else. */
export async function own(path: string, user: RunUser | undefined): Promise<void> {
  if (user !== undefined) await chown(path, user.uid, user.gid);
  await chmod(path, 0o700);
}

async function makeHome(home: string, sharedDirectory: string): Promise<void> {
  await makePassage(sharedDirectory);
  await mkdir(home, { recursive: true, mode: 0o711 });
}

async function openSocketDirectory(
  place: ClusterPaths,
  user: RunUser | undefined,
  temporaryDirectory: string,
): Promise<ClusterPaths> {
  const inHome = join(place.home, 'socket');
  if (place.socketDirectory === inHome && fits(inHome)) {
    await mkdir(inHome, { recursive: true });
    await own(inHome, user);
    return place;
  }
  if (fits(place.socketDirectory) && (await isPrivate(place.socketDirectory, user))) return place;
  const fresh = { ...place, socketDirectory: await makeTemporary(temporaryDirectory, user) };
  await writePlace(fresh);
  return fresh;
}

async function makeTemporary(temporaryDirectory: string, user: RunUser | undefined): Promise<string> {
  for (const parent of [temporaryDirectory, '/tmp']) {
    const real = await realpath(parent).catch(() => undefined);
    if (real === undefined || !fits(join(real, 'escrowd-XXXXXX')) || !(await canReach(real, user))) continue;
    const made = await mkdtemp(join(real, 'escrowd-'));
    await own(made, user);
    return made;
  }
  throw new ClusterError('unreachable', `no directory is short enough to hold PostgreSQL's socket`);
}

/** A directory of the server's user that nobody else can enter, and no link: a name in /tmp may be anyone's. */
async function isPrivate(path: string, user: RunUser | undefined): Promise<boolean> {
  const found = await lstat(path).catch(() => undefined);
  if (found?.isDirectory() !== true) return false;
  return found.uid === (user?.uid ?? process.getuid?.()) && (found.mode & 0o777) === 0o700;
}

function fits(socketDirectory: string): boolean {
  return Buffer.byteLength(join(socketDirectory, socketName)) <= longestSocketPath;
}

function placeOf(directory: string, location: Location): ClusterPaths {
  const home = location.home ?? directory;
  return {
    state: location.state,
    directory,
    home,
    data: join(home, 'data'),
    socketDirectory: location.socketDirectory ?? join(home, 'socket'),
  };
}

async function writePlace(place: ClusterPaths): Promise<void> {
  const location: Location = {
    state: place.state,
    ...(place.home === place.directory ? {} : { home: place.home }),
    ...(place.socketDirectory === join(place.home, 'socket')
      ? {}
      : { socketDirectory: place.socketDirectory }),
  };
  await replaceFile(locationFile(place.directory), `${JSON.stringify(location)}\n`, 0o600);
}

async function readLocation(directory: string): Promise<Location | undefined> {
  let text: string;
  try {
    text = await readFile(locationFile(directory), 'utf8');
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  }
  const location = parseLocation(text);
  if (location === undefined) throw damaged(directory);
  return location;
}

function parseLocation(text: string): Location | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null || !('state' in value)) return undefined;
  const { state } = value;
  if (state !== 'preparing' && state !== 'ready') return undefined;
  const home = 'home' in value ? value.home : undefined;
  const socketDirectory = 'socketDirectory' in value ? value.socketDirectory : undefined;
  if (!isPathOrNothing(home) || !isPathOrNothing(socketDirectory)) return undefined;
  return {
    state,
    ...(home === undefined ? {} : { home }),
    ...(socketDirectory === undefined ? {} : { socketDirectory }),
  };
}

function isPathOrNothing(value: unknown): value is string | undefined {
  return value === undefined || (typeof value === 'string' && value.startsWith('/'));
}

function damaged(directory: string): ClusterError {
  return new ClusterError('damaged', `${locationFile(directory)} does not say where the cluster is`);
}

function locationFile(directory: string): string {
  return join(directory, 'location.json');
}
