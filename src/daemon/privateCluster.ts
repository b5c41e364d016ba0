import { type Cluster, startCluster } from '../privatePostgres/cluster.js';
import type { ClusterLog, ClusterLoss } from '../privatePostgres/options.js';
import type { Config } from './config.js';

const START_MS = 60_000;
const STOP_MS = 30_000;

/** Starts the private cluster that the configuration names; throws what {@link startCluster} throws. */
export function startPrivateCluster(
  {
    database,
    searchPath,
  }: Pick<Config, 'searchPath'> & {
    readonly database: Pick<Config['database'], 'directory' | 'binaries' | 'runAs'>;
  },
  packageDirectory: string,
  log: ClusterLog,
  onLost: (loss: ClusterLoss) => void,
): Promise<Cluster> {
  const { directory, binaries, runAs } = database;
  return startCluster({
    directory,
    packageDirectory,
    ...(binaries === undefined ? {} : { binariesDirectory: binaries }),
    ...(runAs === undefined ? {} : { runAs }),
    ...(searchPath === undefined ? {} : { searchPath }),
    startTimeoutMs: START_MS,
    stopTimeoutMs: STOP_MS,
    log,
    onLost,
  });
}
