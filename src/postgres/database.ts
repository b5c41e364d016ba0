import { randomBytes } from 'node:crypto';
import { EscrowError } from '../escrow/records/errors.js';
import type { Journal } from '../escrow/ports/journal.js';
import type { Outbox } from '../escrow/ports/outbox.js';
import type { Certifier, CheckpointSigner } from '../escrow/ports/signers.js';
import type { Clock } from '../escrow/ports/clock.js';
import type { DatabaseHealth, PoolConnections } from '../escrow/ports/databaseState.js';
import type { Anchorage, LogMemory, LogReader, WitnessedLog } from '../escrow/ports/log.js';
import type { Store } from '../escrow/ports/store.js';
import { AnchorKeeper, requireAnchored } from './log/anchoring.js';
import type { TreeHead } from '../log/anchor.js';
import { messageOf } from '../system/errors.js';
import { Clocks, type TellClocks } from './clocks.js';
import { roleOf, type Connection } from './connection.js';
import { Damage } from './damage.js';
import { LogDamaged, safeInteger, UnsafeDatabase } from './faults.js';
import { FollowedLog, type Followed } from './log/followed.js';
import { type Follow } from './log/followedState.js';
import { leaseOf } from './journal/instances.js';
import { Integrator } from './log/integrator.js';
import { newestCheckpoint } from './log/checkpoints.js';
import { PostgresJournal } from './journal/journal.js';
import { checkLog, readTrusted } from './log/logCheck.js';
import { logSize, openLogReader } from './log/logReader.js';
import { migrate, requireNonePending, requireNoNewer, schemaState } from './schema/migrate.js';
import { openOutbox } from './store/outbox.js';
import { openPool, type Ask, type Pool } from './pool.js';
import { durabilityQuery, requireDurable, type DurabilitySettings } from './schema/durability.js';
import { Servers } from './servers.js';
import { findSnapshot, SnapshotKeeper } from './log/stateSnapshot.js';
import { openStore } from './store/store.js';
import { keepUp } from './upkeep.js';
import { openWitnessedLog } from './log/witnessedLog.js';
import { certifiedWriter } from './log/writer.js';
import { requireSameStart, WrittenEntries } from './log/writtenEntries.js';

/** How long things may take, in milliseconds. */
export interface DatabaseTimeouts {
  readonly connectMs: number;
  /** For each statement that reads. */
  readonly queryMs: number;
  /** From `append` to its answer, whatever happens meanwhile. */
  readonly appendMs: number;
  /** For a checkpoint that a proof needs. */
  readonly proofMs: number;
  readonly migrateMs: number;
}

/** What serves unless the configuration says otherwise. */
export const defaultTimeouts: DatabaseTimeouts = {
  connectMs: 5_000,
  queryMs: 10_000,
  appendMs: 10_000,
  proofMs: 10_000,
  migrateMs: 120_000,
};

export interface DatabaseOptions {
  /** The role that owns the schema: brings it up to date. Without it, an outdated schema is refused. */
  readonly owner?: Connection;
  /** The role that the daemon works as. */
  readonly daemon: Connection;
  readonly signer: CheckpointSigner;
  /** Certifies this process as a writer of the log, and has certified the others. */
  readonly certifier: Certifier;
  readonly anchorage: Anchorage;
  readonly clock: Clock;
  /** What the database's clock must agree with for anything to begin; `clock`, when it is not given. */
  readonly ownClock?: Pick<Clock, 'now'>;
  readonly onClocks?: TellClocks;
  /** Told why the server that is there now may lose what it acknowledges, so that nothing is appended; and with nothing when it is over. */
  readonly onUnsafe?: (reason: string | undefined) => void;
  readonly log: { info(message: string): void; warn(message: string): void };
  /** A lock elsewhere makes this daemon the only one: every other is gone, whatever its lease says. */
  readonly soleInstance?: boolean;
  readonly timeouts?: Partial<DatabaseTimeouts>;
  /** Connections beside the one that appends. */
  readonly poolSize?: number;
  /** How long after its last sign of life a daemon is taken for gone. */
  readonly leaseMs?: number;
  /** How often, at most, appends alone make a checkpoint. */
  readonly checkpointIntervalMs?: number;
  /** How often the newest checkpoint is remembered in the anchorage. */
  readonly anchorMs?: number;
  /** How many of the newest entries are hashed again at start. */
  readonly rehashedAtStart?: number;
  /** Takes every entry of the log, in order. */
  readonly follow?: Follow;
}

/** The records and the log in PostgreSQL. */
export interface Database extends LogMemory {
  readonly journal: Journal;
  readonly store: Store;
  readonly log: LogReader;
  /** How far notices of what the log says have been delivered. */
  readonly outbox: Outbox;
  /** What people accepted as lost, and the log does not say yet: it is handed out at each start until it is said to be recorded. */
  readonly lost: TreeHead | undefined;
  /** Says at which index the log has what was lost. */
  lossRecorded(lost: TreeHead, index: number): void;
  readonly witnessed: WitnessedLog;
  /** How far the log has been followed; see {@link DatabaseOptions.follow}. */
  readonly followed: Followed;
  /**
   * Resolves with the damage when the log turns out to be damaged while the daemon runs: from then on nothing is appended, and
   * no tree is signed. Never rejects.
   */
  readonly failed: Promise<LogDamaged>;
  /** The name of this daemon among those that share the database; another at every start. */
  readonly instance: string;
  /** By how much the clocks were apart when they were compared last; undefined while they agree. Nothing begins while they are. */
  clocksApartMs(): number | undefined;
  health(): Promise<DatabaseHealth>;
  /** The connections but the one that appends; costs nothing. */
  connections(): PoolConnections;
  /** Takes no more appends, answers those that wait, makes a last checkpoint, has it remembered, and closes every connection. */
  close(): Promise<void>;
}

/**
 * Opens the database: brings the schema up to date, and checks the server and the log in it. Throws UnsafeDatabase when
 * the server may lose what it acknowledges, LogDamaged when the log contradicts itself or what the anchorage remembers of
 * it, SchemaMissing when the schema is not there and may not be made, SchemaNewer when a newer program has made it, EscrowError `store-unavailable` when the database does
 * not answer, and `token-unavailable` when the anchorage does not.
 */
export async function openDatabase(options: DatabaseOptions): Promise<Database> {
  const timeouts = { ...defaultTimeouts, ...options.timeouts };
  if (options.owner !== undefined) await migrate(options.owner, roleOf(options.daemon), timeouts.migrateMs);
  const servers = Servers.of(options.daemon);
  const pool = openPool(servers, timeouts, options.poolSize ?? 8);
  try {
    return await open({ servers, pool }, options, timeouts);
  } catch (error) {
    await pool.close();
    throw error;
  }
}

async function open(
  { servers, pool }: { readonly servers: Servers; readonly pool: Pool },
  options: DatabaseOptions,
  timeouts: DatabaseTimeouts,
): Promise<Database> {
  const { signer, clock, log } = options;
  await checkServer(pool);
  // Read first: what another daemon adds to both meanwhile does not make the database older than the anchor.
  const anchor = await options.anchorage.readAnchor();
  const { certifier, follow } = options;
  const checks = {
    log: signer.vkey,
    identityKey: certifier.publicKey,
    release: follow?.state?.release ?? '',
  };
  const { size, trusted, frontier, unsigned, snapshot } = await pool.snapshot(async (ask) => {
    const checked = await checkLog(ask, signer, options.rehashedAtStart ?? 65_536);
    const unsigned = await unsignedEntries(ask);
    await requireAnchored(ask, { signed: checked.trusted, unsigned }, anchor);
    const snapshot =
      follow?.state === undefined ? undefined : await findSnapshot(ask, checks, checked.trusted);
    return { ...checked, unsigned, snapshot };
  });

  const leaseMs = options.leaseMs ?? 15_000;
  const instance = `instance_${randomBytes(16).toString('hex')}`;
  const damage = new Damage();
  const writers = { log: signer.vkey, identityKey: certifier.publicKey, from: unsigned };
  await requireSameStart(pool.ask, writers);
  const followed = await FollowedLog.start({
    pool,
    damage,
    written: new WrittenEntries(writers),
    self: instance,
    timeoutMs: timeouts.appendMs,
    follow,
    snapshot,
    trusted,
    anchor,
  });
  log.info(
    `${followed.next - (snapshot?.size ?? 0)} of ${followed.next} entries of the log were read for its state`,
  );
  const writer = await certifiedWriter(pool.ask, {
    id: instance,
    log: signer.vkey,
    from: unsigned,
    certifier,
    at: clock.now(),
  });
  const clocks = new Clocks(() => (options.ownClock ?? clock).now(), options.onClocks ?? (() => undefined));
  const lease = leaseOf(pool, { instance, sole: options.soleInstance ?? false, leaseMs });
  await lease.renew();

  const integrator = new Integrator({
    pool,
    signer,
    log,
    trusted,
    frontier,
    followed,
    damage,
    checkpointIntervalMs: options.checkpointIntervalMs ?? 250,
  });
  const journal = new PostgresJournal({
    connection: servers,
    pool,
    lease,
    writer,
    followed,
    damage,
    clocks,
    proven: async (covered) => {
      await integrator.proven(covered, timeouts.proofMs);
    },
    timeouts,
    log,
    ...(options.onUnsafe === undefined ? {} : { onUnsafe: options.onUnsafe }),
    size,
    onAppended: () => {
      integrator.appended();
    },
  });
  integrator.appended();
  const snapshots =
    follow?.state === undefined
      ? undefined
      : new SnapshotKeeper({
          ...{ pool, checks, certifier, clock, damage, followed, integrator, log, state: follow.state },
          timeoutMs: timeouts.proofMs,
          size: snapshot?.size ?? 0,
        });
  const anchorKeeper = new AnchorKeeper({
    pool,
    anchorage: options.anchorage,
    damage,
    readSigned: (ask) => readTrusted(ask, signer),
    covering: (covered) => integrator.covering(covered, timeouts.proofMs),
    unsigned,
    everyMs: options.anchorMs ?? 60_000,
    // first: what stands behind the state that is kept is read at the next start
    before: async () => snapshots?.keep('now and then'),
    log,
  });
  const upkeep = keepUp(pool, lease, { clock, log, leaseMs, clocks });

  return {
    journal,
    store: openStore(pool),
    log: openLogReader(pool, integrator, timeouts.proofMs, damage),
    witnessed: openWitnessedLog(pool),
    outbox: openOutbox(pool, lease),
    followed,
    failed: damage.failed,
    instance,
    lost: anchor.lost,
    anchored: (index) => anchorKeeper.through(index),
    requireOwnToken: async () => {
      await anchorKeeper.requireOwn();
    },
    lossRecorded: (lost, index) => {
      anchorKeeper.recorded(lost, index);
    },
    clocksApartMs: () => clocks.apartMs,
    health: () => healthOf(pool, journal, integrator, clocks),
    connections: () => pool.connections(),
    close: async () => {
      await journal.close();
      // while a checkpoint can still be waited for, which another daemon may be making
      await snapshots?.keep('at the end');
      await integrator.close();
      await followed.close();
      await anchorKeeper.close();
      await upkeep.stop();
      await lease.end().catch(() => undefined);
      await pool.close();
    },
  };
}

async function checkServer(pool: Pool): Promise<void> {
  const [settings] = await pool.ask<DurabilitySettings>(durabilityQuery);
  if (settings === undefined) throw new UnsafeDatabase('the server does not say whether it is safe');
  requireDurable(settings);
  const state = await schemaState(pool.ask);
  requireNoNewer(state);
  requireNonePending(state);
}

/** How many entries there were before there were writers, as migration 013 wrote it down. */
async function unsignedEntries(ask: Ask): Promise<number> {
  const [row] = await ask<{ size: string }>('select size from log_unsigned where id = 1');
  if (row === undefined) throw new LogDamaged('the log does not say where its entries without a writer end');
  return safeInteger(row.size);
}

async function healthOf(
  pool: Pool,
  journal: PostgresJournal,
  integrator: Integrator,
  clocks: Clocks,
): Promise<DatabaseHealth> {
  try {
    // apart or not: it is told in `clocksApartMs`
    await clocks.require(pool.ask).catch((error: unknown) => {
      if (!(error instanceof EscrowError)) throw error;
    });
    const entries = await logSize(pool.ask);
    const checkpoint = await newestCheckpoint(pool.ask);
    return {
      answers: true,
      entries,
      checkpointed: checkpoint?.size ?? 0,
      journalFault: journal.fault === undefined ? undefined : messageOf(journal.fault),
      integratorFault: integrator.fault?.message,
      clocksApartMs: clocks.apartMs,
    };
  } catch {
    return { answers: false };
  }
}
