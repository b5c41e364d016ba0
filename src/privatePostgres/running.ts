import { realpath } from 'node:fs/promises';

import { connectionsTo, type ClusterConnections } from './connections.js';
import { settlePasswords } from './initialise.js';
import { readPaths } from './paths.js';
import { findPostmaster } from './postmaster.js';

/**
 * How to reach the private cluster of a directory while a daemon has its server run; undefined when none does. Nothing is
 * started, and nothing is locked: it may stop at any time.
 *
 * @throws ClusterError `damaged`
 */
export async function runningCluster(directory: string): Promise<ClusterConnections | undefined> {
  const place = await realpath(directory).catch(() => undefined);
  const paths = place === undefined ? undefined : await readPaths(place);
  if (paths?.state !== 'ready') return undefined;
  const server = await findPostmaster(paths.data);
  if (server === undefined) return undefined;
  return connectionsTo(await settlePasswords(paths), server.socketDirectory ?? paths.socketDirectory);
}
