import type { Anchorage } from '../escrow/ports/log.js';
import type { CheckpointSigner, Certifier } from '../escrow/ports/signers.js';
import { type Database, openDatabase } from '../postgres/database.js';
import type { Follow } from '../postgres/log/followedState.js';
import { systemClock } from './clock.js';
import type { AlarmBook } from './health.js';
import { reasonsOf } from './operatorLog.js';
import type { DaemonParts } from './parts.js';
import { startPrivateCluster } from './privateCluster.js';
import { type DatabaseConnections, namedDatabase, reachDatabase } from './start/reachDatabase.js';

/** A database that answers, and is not opened yet. */
export interface ReachedDatabase extends DatabaseConnections {
  /** A lock makes this daemon the only one on it. */
  readonly soleInstance: boolean;
}

/**
 * Has a database that answers: DATABASE_URL's server, which is waited for, or the private cluster in the configured directory, which
 * is started.
 *
 * @throws DatabaseAway, DatabaseRefused, UnsafeDatabase, SchemaMissing, SchemaNewer, ClusterError
 */
export async function findDatabase(
  { config, packageDirectory, log, stop }: DaemonParts,
  stack: (() => Promise<unknown>)[],
  fail: (error: Error) => void,
): Promise<ReachedDatabase> {
  const named = namedDatabase(config);
  const { waitMs, startMs } = config.database;
  if (named !== undefined) {
    const tell = (message: string): void => void log.warn(message);
    await reachDatabase(named, { connectMs: waitMs, startMs, stop, tell });
    return { ...named, soleInstance: false };
  }
  const lines = {
    info: (message: string): void => void log.info(message),
    warn: (message: string): void => void log.warn(message),
  };
  const cluster = await startPrivateCluster(config, packageDirectory, lines, (loss) => {
    if (loss.state === 'taken') fail(loss.cause);
    else log.warn('the database connection that holds the lock was lost', { reason: reasonsOf(loss.cause) });
  });
  stack.push(() => cluster.stop());
  return { owner: cluster.owner, daemon: cluster.daemon, soleInstance: true };
}

/** Opens the database that was found; see {@link openDatabase}. */
export async function startDatabase(
  { config, log, clock = systemClock, ownClock: ownTime }: DaemonParts,
  { owner, daemon, soleInstance }: ReachedDatabase,
  using: {
    readonly signer: CheckpointSigner;
    readonly certifier: Certifier;
    readonly anchorage: Anchorage;
    readonly follow: Follow;
    readonly alarms: Pick<AlarmBook, 'clear'>;
  },
  stack: (() => Promise<unknown>)[],
): Promise<Database> {
  const { waitMs } = config.database;
  const { alarms, ...ports } = using;
  const onClocks = (apartMs: number | undefined): void => {
    if (apartMs === undefined) {
      alarms.clear('clock-differs');
      log.info('the clocks of the database and of this daemon agree again');
    } else
      log.error('the clocks of the database and of this daemon are apart: nothing begins and nothing ends', {
        alarm: 'clock-differs',
        aheadMs: apartMs,
      });
  };
  const onUnsafe = (reason: string | undefined): void => {
    if (reason === undefined) {
      alarms.clear('database-unsafe');
      log.info('the database no longer loses what it has acknowledged');
    } else
      log.error('the database that answers now can lose what it acknowledges: nothing is recorded', {
        alarm: 'database-unsafe',
        reason,
      });
  };
  const database = await openDatabase({
    ...ports,
    daemon,
    ...(owner === undefined ? {} : { owner }),
    soleInstance,
    anchorMs: config.anchorMs,
    clock,
    ownClock: ownTime ?? systemClock,
    onClocks,
    onUnsafe,
    log: {
      info: (message) => void log.info(message),
      warn: (message) => void log.warn(message),
    },
    timeouts: { connectMs: waitMs, queryMs: waitMs, appendMs: waitMs },
  });
  stack.push(() => database.close());
  return database;
}
