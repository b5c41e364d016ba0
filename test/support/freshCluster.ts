import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

import { startCluster } from '../../src/privatePostgres/cluster.js';
import { type ClusterOptions } from '../../src/privatePostgres/options.js';
import { migrate } from '../../src/postgres/schema/migrate.js';
import { madeOnce } from './madeOnce.js';

/** What the tests start every private cluster with that is not what they are about. */
export const CLUSTER: Omit<ClusterOptions, 'directory'> = {
  packageDirectory: process.cwd(),
  startTimeoutMs: 60_000,
  stopTimeoutMs: 10_000,
  log: { info: () => undefined, warn: () => undefined },
  onLost: () => undefined,
};

/** How long migrations may take. */
export const MIGRATE_MS = 60_000;

/** What is in the database of a cluster that nobody has used: what the migrations leave, or nothing. */
export type FreshSchema = 'migrated' | 'none';

/**
 * Puts a private cluster into `directory`, which is not there yet and whose parent the database's user can reach: as the
 * first start of a daemon makes it, or a first start of its server alone, stopped again. It is made once in a run, which takes
 * seconds of CPU, and copied; roles have the same passwords in all copies. Where a copy would not do, nothing is put there,
 * and the first start makes it.
 */
export async function freshCluster(directory: string, schema: FreshSchema): Promise<void> {
  const made = join(
    await madeOnce(`cluster-${schema}`, async (into) => {
      const sharedDirectory = join(into, 'shared');
      const cluster = await startCluster({ ...CLUSTER, directory: join(into, 'cluster'), sharedDirectory });
      if (schema === 'migrated') await migrate(cluster.owner, cluster.daemon.user, MIGRATE_MS);
      await cluster.stop();
    }),
    'cluster',
  );
  // all of it lies there, and not where only the one that was made would look
  const location = JSON.parse(readFileSync(join(made, 'location.json'), 'utf8')) as object;
  if (Object.keys(location).join() !== 'state' || existsSync(directory)) return;
  execFileSync('cp', ['-a', made, directory]);
}
