import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

import { startCluster } from '../../src/privatePostgres/cluster.js';
import { type ClusterOptions } from '../../src/privatePostgres/options.ts';
import { madeOnce } from './madeOnce.js';

/** What the tests start every private cluster with that is not what they are about. */
export const CLUSTER: Omit<ClusterOptions, 'directory'> = {
  packageDirectory: process.cwd(),
  startTimeoutMs: 60_000,
  stopTimeoutMs: 10_000,
  log: { info: () => undefined, warn: () => undefined },
  onLost: () => undefined,
};

/**
 * Puts a private cluster into `directory`, which is not there yet and whose parent the database's user can reach: as the
 * first start of a daemon makes it, stopped again. It is made once in a run, which takes a second of CPU, and copied; roles
 * have the same passwords in all copies. Where a copy would not do, nothing is put there, and the first start makes it.
 */
export async function freshCluster(directory: string): Promise<void> {
  const made = join(
    await madeOnce('cluster', async (into) => {
      const sharedDirectory = join(into, 'shared');
      await (await startCluster({ ...CLUSTER, directory: join(into, 'cluster'), sharedDirectory })).stop();
    }),
    'cluster',
  );
  // all of it lies there, and not where only the one that was made would look
  const location = JSON.parse(readFileSync(join(made, 'location.json'), 'utf8')) as object;
  if (Object.keys(location).join() !== 'state' || existsSync(directory)) return;
  execFileSync('cp', ['-a', made, directory]);
}
