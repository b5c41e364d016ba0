import { realpath, stat } from 'node:fs/promises';
import { join } from 'node:path';

import { chooseBinaries, systemPatterns } from './binaries.js';
import { bundleAt } from './bundledBinaries.js';
import { type ClusterConnections } from './connections.js';
import { ClusterError } from './errors.js';
import type { ClusterOptions } from './options.js';
import { missing, readPaths, requireShortPath } from './paths.js';
import { exists } from '../system/files.js';
import { runningCluster } from './running.js';
import { chooseRunUser } from './unprivileged.js';

/** What is in the directory of a private cluster. */
export type ClusterState =
  /** Nothing yet: the first start makes it. */
  | { readonly state: 'none' }
  /** Data, and no server: what is in it cannot be asked. */
  | { readonly state: 'stopped' }
  | { readonly state: 'running'; readonly connections: ClusterConnections };

type Where = Pick<ClusterOptions, 'directory' | 'binariesDirectory' | 'runAs' | 'packageDirectory'>;

const TIMEOUT_MS = 10_000;

/**
 * Looks at a private cluster, and makes, starts and locks nothing. Of the binaries only those that are configured are looked at.
 *
 * @throws ClusterError as a start would
 */
export async function inspectCluster({
  directory,
  binariesDirectory,
  runAs,
  packageDirectory,
}: Where): Promise<ClusterState> {
  const place = await realpath(directory).catch(() => undefined);
  if (place !== undefined && !(await stat(place)).isDirectory())
    throw new ClusterError('unreachable', `${directory} is not a directory`);
  const known = place === undefined ? undefined : await readPaths(place);
  requireShortPath(known ?? { socketDirectory: join(place ?? directory, 'socket') });
  if (known?.state === 'ready' && !(await exists(known.data))) throw missing(known);
  if (process.getuid?.() === 0 && runAs !== undefined) await chooseRunUser(runAs);
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
  if (known?.state !== 'ready') return { state: 'none' };
  const connections = await runningCluster(directory);
  return connections === undefined ? { state: 'stopped' } : { state: 'running', connections };
}
