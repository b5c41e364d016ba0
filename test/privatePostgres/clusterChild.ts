import { createInterface } from 'node:readline';
import { startCluster } from '../../src/privatePostgres/cluster.js';
import { type ClusterOptions } from '../../src/privatePostgres/options.ts';

/**
 * A daemon's part of the tests: starts the cluster that its argument describes, says so in one JSON line, and stops it
 * when it is told `stop` on stdin. Killed, it stops nothing.
 */
const options = JSON.parse(process.argv[2] ?? '') as Omit<ClusterOptions, 'log' | 'onLost'>;
const log = (message: string): void => {
  if (process.env['CLUSTER_LOG'] !== undefined) console.error(message);
};

const say = (message: unknown): void => {
  console.log(JSON.stringify(message));
};

const input = createInterface({ input: process.stdin });

startCluster({ ...options, log: { info: log, warn: log }, onLost: () => undefined }).then(
  (cluster) => {
    say({ started: { owner: cluster.owner, daemon: cluster.daemon } });
    input.on('line', () => {
      void cluster.stop().then(() => {
        say({ stopped: true });
        input.close();
      });
    });
  },
  (error: unknown) => {
    say({ failed: error instanceof Error ? { name: error.name, message: error.message } : String(error) });
    input.close();
  },
);
