import type { Anchorage } from '../escrow/ports/log.js';
import type { CheckpointSigner, Certifier } from '../escrow/ports/signers.js';
import { type Database, openDatabase } from '../postgres/database.js';
import type { Follow } from '../postgres/log/followedState.js';
import { systemClock } from './clock.js';
import type { AlarmBook } from './health.js';
import { reasonsOf } from './operatorLog.js';
import type { DaemonParts } from './parts.js';
import { startPrivateCluster } from './privateCluster.js';

/** DATABASE_URL's server, or the private cluster in the configured directory. */
export async function startDatabase(
  { config, packageDirectory, log, clock = systemClock, ownClock: ownTime }: DaemonParts,
  using: {
    readonly signer: CheckpointSigner;
    readonly certifier: Certifier;
    readonly anchorage: Anchorage;
    readonly follow: Follow;
    readonly alarms: Pick<AlarmBook, 'clear'>;
  },
  stack: (() => Promise<unknown>)[],
  fail: (error: Error) => void,
): Promise<Database> {
  const lines = {
    info: (message: string): void => void log.info(message),
    warn: (message: string): void => void log.warn(message),
  };
  const timeouts = {
    connectMs: config.database.waitMs,
    queryMs: config.database.waitMs,
    appendMs: config.database.waitMs,
  };
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
  const ownClock = ownTime ?? systemClock;
  const told = { onClocks, onUnsafe, log: lines };
  const common = { ...ports, ...told, anchorMs: config.anchorMs, clock, ownClock, timeouts };
  let database: Database;
  if (config.databaseUrl !== undefined) {
    const owner = config.databaseOwnerUrl === undefined ? {} : { owner: config.databaseOwnerUrl };
    database = await openDatabase({ ...common, ...owner, daemon: config.databaseUrl });
  } else {
    const cluster = await startPrivateCluster(config, packageDirectory, lines, (loss) => {
      if (loss.state === 'taken') fail(loss.cause);
      else
        log.warn('the database connection that holds the lock was lost', { reason: reasonsOf(loss.cause) });
    });
    stack.push(() => cluster.stop());
    database = await openDatabase({
      ...common,
      owner: cluster.owner,
      daemon: cluster.daemon,
      soleInstance: true,
    });
  }
  stack.push(() => database.close());
  return database;
}
