import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startCluster } from '../../src/privatePostgres/cluster.js';
import type { ConnectionSettings } from '../../src/privatePostgres/lock.js';
import type { Progress } from './findings.js';

/** The two roles of a server. */
export interface Roles {
  readonly owner: ConnectionSettings;
  readonly daemon: ConnectionSettings;
}

/**
 * Starts a private server, as the daemon does, on the disk that TMPDIR is on, lends it, and removes it. On a file system in
 * memory nothing is durable, and figures of appends say nothing.
 */
export async function withServer<T>(progress: Progress, use: (roles: Roles) => Promise<T>): Promise<T> {
  const directory = mkdtempSync(join(tmpdir(), 'escrowd-bench-'));
  chmodSync(directory, 0o755); // the database's user must reach it
  try {
    const cluster = await startCluster({
      directory: join(directory, 'data'),
      sharedDirectory: join(directory, 'shared'),
      packageDirectory: process.cwd(),
      startTimeoutMs: 60_000,
      stopTimeoutMs: 30_000,
      log: { info: () => undefined, warn: progress },
      onLost: () => undefined,
    });
    try {
      return await use(cluster);
    } finally {
      await cluster.stop();
    }
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
