import { realpath } from 'node:fs/promises';
import { dirname, join } from 'node:path';

import { chooseBinaries, systemPatterns } from './binaries.js';
import { bundleAt } from './bundledBinaries.js';
import { type ClusterConnections } from './connections.js';
import type { ClusterOptions } from './options.js';
import { missing, readPaths, requireShortPath } from './paths.js';
import { exists } from '../system/files.js';
import type { FileSystem, Place } from '../system/place.js';
import { requirePlace, requireRoom } from './requirePlace.js';
import { runningCluster } from './running.js';
import { canReach, chooseRunUser } from './unprivileged.js';

/** What is in the directory of a private cluster. */
export type ClusterState = { readonly place: Place } & (
  | /** Nothing yet: the first start makes it. */
    { readonly state: 'none' }
    /** Data, and no server: what is in it cannot be asked. */
  | { readonly state: 'stopped' }
  | { readonly state: 'running'; readonly connections: ClusterConnections }
);

type Where = Pick<ClusterOptions, 'directory' | 'binariesDirectory' | 'runAs' | 'packageDirectory'>;

const TIMEOUT_MS = 10_000;

/**
 * Looks at a private cluster, and makes, starts and locks nothing. Of the binaries only those that are configured are looked at.
 *
 * @throws ClusterError as a start would
 */
export async function inspectCluster(
  { directory, binariesDirectory, runAs, packageDirectory }: Where,
  fileSystemAt?: (path: string) => FileSystem,
): Promise<ClusterState> {
  const own = requirePlace(directory, fileSystemAt);
  const real = await realpath(directory).catch(() => undefined);
  const known = real === undefined ? undefined : await readPaths(real);
  requireShortPath(known ?? { socketDirectory: join(real ?? directory, 'socket') });
  if (known?.state === 'ready' && !(await exists(known.data))) throw missing(known);
  const isRoot = process.getuid?.() === 0;
  if (isRoot && runAs !== undefined) await chooseRunUser(runAs);
  // a bundle of npm may have to be copied first, which is for a start to do
  if (binariesDirectory !== undefined && (await bundleAt(binariesDirectory)) === undefined)
    await chooseBinaries({
      configured: binariesDirectory,
      searchPath: undefined,
      systemPatterns,
      packageDirectory,
      copyInto: directory,
      neededMajor: undefined,
      user: undefined,
      timeoutMs: TIMEOUT_MS,
    });
  if (known?.state !== 'ready') {
    const user = isRoot ? await chooseRunUser(runAs) : undefined;
    // as root it may come to lie elsewhere, which is for a start to decide
    if (await canReach(dirname(directory), user).catch(() => false)) requireRoom(directory, own);
    return { state: 'none', place: own };
  }
  const place = requirePlace(known.home, fileSystemAt);
  const connections = await runningCluster(directory);
  // with none at all not even its access rules are written
  if (connections === undefined && place.freeBytes === 0) requireRoom(known.home, place);
  return connections === undefined ? { state: 'stopped', place } : { state: 'running', connections, place };
}
