import { readFile, realpath, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { chooseBinaries, systemPatterns, type Binaries } from './binaries.js';
import type { ClusterOptions } from './options.js';
import { ClusterError } from './errors.js';
import { codeOf } from '../system/errors.js';
import { exists } from '../system/files.js';
import { cautionsOf, makeDirectories } from '../system/place.js';
import { asClusterError, CLUSTER_BYTES, requirePlace, requireRoom } from './requirePlace.js';
import { choosePaths, missing, openHome, readPaths, type ClusterPaths } from './paths.js';
import { initialise, settlePasswords, type Passwords } from './initialise.js';
import { chooseRunUser, type RunUser } from './unprivileged.js';

/** What a server is started with. */
export interface Prepared {
  readonly options: ClusterOptions;
  readonly paths: ClusterPaths;
  readonly user: RunUser | undefined;
  readonly binaries: Binaries;
  readonly passwords: Passwords;
}

/**
 * Settles user, paths, binaries and passwords, and makes the data when there is none yet.
 * `deadline` is an instant of `performance.now()`.
 */
export async function prepare(options: ClusterOptions, deadline: number): Promise<Prepared> {
  const { sharedDirectory = '/var/lib/escrowd' } = options;
  try {
    // before anything is made
    requirePlace(options.directory);
    await makeDirectories(options.directory, 0o700);
    const directory = await realpath(options.directory);
    const known = await readPaths(directory);
    const data = known === undefined ? undefined : await readData(known);
    if (known?.state === 'ready' && data === undefined) throw missing(known);
    const user = process.getuid?.() === 0 ? await settleUser(options.runAs, data) : undefined;
    const paths = known ?? (await choosePaths(directory, user, sharedDirectory));
    await openHome(paths, user, sharedDirectory);
    const binaries = await chooseBinaries({
      configured: options.binariesDirectory,
      searchPath: options.searchPath,
      systemPatterns,
      packageDirectory: options.packageDirectory,
      copyInto: user === undefined ? directory : sharedDirectory,
      neededMajor: data?.major,
      user,
      timeoutMs: remaining(deadline),
    });
    const passwords = await settlePasswords(paths);
    const place = requirePlace(paths.home);
    if (data === undefined) {
      requireRoom(paths.home, place);
      options.log.info(`making a PostgreSQL ${binaries.major} cluster in ${paths.home}`);
      await initialise(paths, { binaries, user, passwords, timeoutMs: remaining(deadline) });
    }
    for (const { what, remedy } of cautionsOf(place, CLUSTER_BYTES))
      options.log.warn(`${paths.home}: ${what}; ${remedy}`);
    return { options, paths, user, binaries, passwords };
  } catch (error) {
    throw asClusterError(options.directory, error);
  }
}

/** The data's major version, and whose it is; undefined when there is none. */
async function readData(
  paths: ClusterPaths,
): Promise<{ major: number; uid: number; gid: number } | undefined> {
  if (!(await exists(paths.data))) return undefined;
  const written = await readFile(join(paths.data, 'PG_VERSION'), 'utf8').catch((error: unknown) => {
    if (codeOf(error) === 'ENOENT') return '';
    throw error;
  });
  const major = Number(written);
  if (!Number.isInteger(major) || major <= 0) {
    throw new ClusterError('damaged', `${paths.data} is not the data of a PostgreSQL cluster`);
  }
  const { uid, gid } = await stat(paths.data);
  return { major, uid, gid };
}

/** As root: the owner of the data that is there, else whoever is configured or found. */
async function settleUser(
  runAs: string | undefined,
  data: { uid: number; gid: number } | undefined,
): Promise<RunUser> {
  if (data === undefined) return chooseRunUser(runAs);
  const asked = runAs === undefined ? undefined : await chooseRunUser(runAs);
  if (data.uid === 0 || (asked !== undefined && asked.uid !== data.uid)) {
    throw new ClusterError(
      'no-user',
      `the PostgreSQL data belongs to user ${data.uid}, but PostgreSQL is to run as ${asked?.name ?? 'another than root'}: change its owner, or the configured user`,
    );
  }
  return { name: asked?.name ?? `with id ${data.uid}`, uid: data.uid, gid: data.gid };
}

/** What is left for one step; a step that is reached too late gets an instant, and says itself that it was not enough. */
function remaining(deadline: number): number {
  return Math.max(1, Math.round(deadline - performance.now()));
}
