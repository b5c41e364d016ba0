import { join } from 'node:path';
import { createPublicKey, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';

import { decodeText } from '../log/entry/plainText.js';
import type { Config } from './config.js';
import { ConfigError } from './config.js';
import type { Escrow } from '../escrow/escrow.js';
import { sha256Hex } from '../escrow/records/digests.js';
import { Directory } from '../escrow/directory.js';
import { EscrowError } from '../escrow/records/errors.js';
import { GrantCertificates } from '../escrow/rules/grantCertificate.js';
import type { Housekeeping } from '../escrow/acts/housekeeping.js';
import { keepHouse } from '../escrow/acts/housekeeping.js';
import { unaccountedObjects } from '../escrow/acts/tokenInventory.js';
import type { FollowedLog } from '../escrow/logged/logFacts.js';
import type { SavedState } from '../escrow/logged/logState.js';
import { LogState } from '../escrow/logged/logState.js';
import { Ledger } from '../escrow/ledger/ledger.js';
import { OpenRequests } from '../escrow/rules/openRequests.js';
import { OwnerChains } from '../escrow/logged/ownerChains.js';
import { recordLoss } from '../escrow/acts/recordLoss.js';
import type { Policy } from '../escrow/records/policy.js';
import type { Anchorage, Certifier, CheckpointSigner, Clock } from '../escrow/ports/token.js';
import { watchObjects } from './foreignObjects.js';
import { refuseExposedFiles } from './exposedFiles.js';
import { AlarmBook, watchHealth } from './health.js';
import type { Health, ManagementListener } from '../http/management.js';
import { listenForManagement } from '../http/management.js';
import { parsePolicy } from '../http/policyDocument.js';
import type { Limits } from '../http/server.js';
import { createServer } from '../http/server.js';
import { identityVerifier, statementVerifier } from '../http/caller/statements.js';
import { openNotifications } from './startNotifications.js';
import type { OperatorLog } from './operatorLog.js';
import { reasonsOf } from './operatorLog.js';
import type { Cluster } from '../privatePostgres/cluster.js';
import { startCluster } from '../privatePostgres/cluster.js';
import type { Database } from '../postgres/database.js';
import { openDatabase } from '../postgres/database.js';
import { LogDamaged } from '../postgres/faults.js';
import type { Follow } from '../postgres/log/followedState.js';
import { releaseOf } from './release.js';
import { openProvenToken } from './startToken.js';
import type { WitnessAt } from '../cosigning/submission.js';
import { startWitnessing } from '../cosigning/witnessing.js';

/** What a daemon is made of. */
export interface DaemonParts {
  readonly config: Config;
  readonly configFile: string;
  /** Where package.json, node_modules and hsm-config are. */
  readonly packageDirectory: string;
  /** The program of the process that makes key pairs in the token; they are made in this one when it is not given. */
  readonly pairProgram?: string;
  readonly log: OperatorLog;
  /** Time; that of the system when it is not given. */
  readonly clock?: Clock;
  /** What the database's clock must agree with; that of the system when it is not given. */
  readonly ownClock?: Pick<Clock, 'now'>;
}

/** A daemon that serves. */
export interface Daemon {
  readonly host: string;
  readonly port: number;
  /** Where whoever runs the daemon is told how it is; undefined when the configuration turns that off. */
  readonly management: { readonly host: string; readonly port: number } | undefined;
  /** Resolves with the reason when the daemon can no longer go on and must be stopped; never rejects. */
  readonly failed: Promise<Error>;
  /** Finishes what is under way, gives back token and database, and resolves when all is closed. Once. */
  stop(): Promise<void>;
}

const systemClock: Clock = {
  now: () => new Date(),
  pause: async (ms) => {
    await pause(ms);
  },
};

const CLUSTER_START_MS = 60_000;
const CLUSTER_STOP_MS = 30_000;

/**
 * Composes and starts everything: token (proved), database, log, use cases, API. What was started is stopped again when
 * a later part cannot be. Throws what the parts throw; see `exitCodeOf`.
 */
export async function startDaemon(parts: DaemonParts): Promise<Daemon> {
  const { config, log, clock = systemClock } = parts;
  const stack: (() => Promise<unknown>)[] = [];
  const unwind = async (): Promise<void> => {
    for (let close = stack.pop(); close !== undefined; close = stack.pop()) {
      await close().catch((error: unknown) =>
        log.error('closing a part failed', { reason: reasonsOf(error) }),
      );
    }
  };
  let fail: (error: Error) => void = () => undefined;
  const failed = new Promise<Error>((resolve) => {
    fail = resolve;
  });
  try {
    const alarms = new AlarmBook(log, () => clock.now());
    refuseExposedFiles(config, parts.configFile);
    const tls = readTls(config);
    const administrators = readAdministrators(config.administrators);
    const { token, signer, certifier, unenforced } = await openProvenToken(
      config,
      parts.configFile,
      parts.packageDirectory,
      log,
      parts.pairProgram,
    );
    stack.push(() => token.close(config.requests.drainMs));
    void token.failed.then(fail);
    const facts = new LogState();
    const follow = followWith(facts, releaseOf(parts.packageDirectory, join(import.meta.dirname, '..')));
    const using = { signer, certifier, anchorage: token, follow };
    const database = await startDatabase(parts, using, stack, fail);
    void database.failed.then((damage) => {
      log.error('the log is damaged: nothing more is built on it', {
        alarm: 'log-damaged',
        reason: reasonsOf(damage),
      });
      fail(damage);
    });

    const followed: FollowedLog = {
      facts,
      through: (index) => database.followed.through(index),
      caughtUp: () => database.followed.caughtUp(),
    };
    const directory = new Directory(
      database.store,
      parsePolicy,
      administrators,
      { statements: statementVerifier, logKey: signer.vkey },
      config.policyFloor,
      followed,
    );
    const ledger = new Ledger({
      journal: database.journal,
      memory: database,
      followed,
      token,
      clock,
      random: randomBytes,
      policy: () => directory.current(),
      notice: (message, cause) => log.warn(message, { reason: reasonsOf(cause) }),
      contentionTimeoutMs: config.requests.contentionMs,
      refusals: { budget: config.requests.refusals, seeOnce: (request) => database.store.seeOnce(request) },
    });
    await directory.current();
    const { store, log: reader } = database;
    const identity = identityVerifier(token.identityKey);
    const escrow: Escrow = {
      ledger,
      directory,
      store,
      log: reader,
      followed,
      certificates: new GrantCertificates({ origin: config.origin, logKey: signer.vkey }, identity),
      owners: new OwnerChains(reader),
      openRequests: new OpenRequests(config.requests.openRecoveries),
      token,
      statements: statementVerifier,
      identity,
      clock,
      random: randomBytes,
      origin: config.origin,
      logKey: signer.vkey,
      tokenId: sha256Hex(token.identityKey),
    };
    if (database.lost !== undefined) {
      log.error('the log has lost entries, as people have accepted', { remembered: database.lost.size });
      database.lossRecorded(database.lost, (await recordLoss(escrow, database.lost)).index);
    }
    const notifications = await openNotifications(config.notifications, escrow, database.outbox, log);
    stack.push(await keepHouseRegularly({ escrow, database, alarms, log }, config.housekeepingMs));
    const stopWatchingObjects = watchObjects({
      look: () => unaccountedObjects({ escrow, token }),
      everyMs: config.inventoryMs,
      againMs: Math.min(config.inventoryMs, 2 * config.housekeepingMs),
      alarms,
      log,
    });
    stack.push(stopWatchingObjects);
    const witnessing = startWitnessing({
      witnesses: readWitnesses(config),
      log: database.witnessed,
      now: () => clock.now(),
      ...config.witnessing,
      tell: {
        info: (message) => void log.info(message),
        warn: (message) => void log.warn(message),
      },
    });
    stack.push(() => witnessing.stop());

    const watch = await watchHealth(
      { token, database, witnessing, notifications, alarms, unenforced },
      { everyMs: config.token.probeMs, staleMs: 2 * config.database.waitMs, log },
    );
    stack.push(() => watch.stop());
    let isStopping = false;
    const management = await openManagement(config, () => {
      const health = watch.latest();
      return isStopping
        ? { ...health, ok: false, problems: ['The daemon is shutting down.', ...health.problems] }
        : health;
    });
    if (management !== undefined) stack.push(() => management.close());
    const server = createServer({
      escrow,
      tls,
      keys: { identityKey: jwkOf(token.identityKey), logKey: signer.vkey },
      limits: limitsOf(config),
      report: (error, requestId) => log.error('a request failed', { requestId, reason: reasonsOf(error) }),
      tell: (message, facts) => void log.warn(message, facts),
      isReady: () => watch.latest().ok,
      isClockOff: () => database.clocksApartMs() !== undefined,
    });
    const { host, port } = await server.listen(config.listen.host, config.listen.port);
    stack.push(() => server.drain(config.requests.drainMs));
    stack.push(() => {
      isStopping = true;
      return Promise.resolve();
    });
    const stopNotifying = notifications.start();
    stack.push(() => stopNotifying(config.requests.drainMs));
    log.info('serving', {
      url: `https://${host}:${port}`,
      ...(management === undefined ? {} : { management: urlOf(management) }),
      origin: config.origin,
      logKey: signer.vkey,
    });
    return { host, port, management, failed, stop: unwind };
  } catch (error) {
    if (error instanceof LogDamaged)
      log.error('the log is damaged: nothing is built on it', {
        alarm: 'log-damaged',
        reason: reasonsOf(error),
      });
    await unwind();
    throw error;
  }
}

/** The state of the log, kept for the next start of the same release. */
function followWith(facts: LogState, release: string): Follow {
  return {
    take: (index, entry) => {
      facts.take(index, entry);
    },
    state: {
      release,
      save: () => facts.save(),
      // the identity key has signed it for this release: it is what `save` gave
      restore: (saved) => {
        facts.restore(saved as SavedState);
      },
    },
  };
}

/** DATABASE_URL's server, or the private cluster in the configured directory. */
async function startDatabase(
  { config, packageDirectory, log, clock = systemClock, ownClock: ownTime }: DaemonParts,
  using: {
    readonly signer: CheckpointSigner;
    readonly certifier: Certifier;
    readonly anchorage: Anchorage;
    readonly follow: Follow;
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
  const onClocks = (apartMs: number | undefined): void => {
    if (apartMs === undefined) log.info('the clocks of the database and of this daemon agree again');
    else
      log.error('the clocks of the database and of this daemon are apart: nothing begins and nothing ends', {
        alarm: 'clock-differs',
        aheadMs: apartMs,
      });
  };
  const ownClock = ownTime ?? systemClock;
  const common = { ...using, anchorMs: config.anchorMs, clock, ownClock, onClocks, log: lines, timeouts };
  let database: Database;
  if (config.databaseUrl !== undefined) {
    const owner = config.databaseOwnerUrl === undefined ? {} : { owner: config.databaseOwnerUrl };
    database = await openDatabase({ ...common, ...owner, daemon: config.databaseUrl });
  } else {
    const { directory, binaries, runAs } = config.database;
    const cluster: Cluster = await startCluster({
      directory,
      packageDirectory,
      ...(binaries === undefined ? {} : { binariesDirectory: binaries }),
      ...(runAs === undefined ? {} : { runAs }),
      ...(config.searchPath === undefined ? {} : { searchPath: config.searchPath }),
      startTimeoutMs: CLUSTER_START_MS,
      stopTimeoutMs: CLUSTER_STOP_MS,
      log: lines,
      onLost: (loss) => {
        if (loss.state === 'taken') fail(loss.cause);
        else
          log.warn('the database connection that holds the lock was lost', { reason: reasonsOf(loss.cause) });
      },
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

/** Keeps house once before serving and then regularly. Returns how to stop it. */
async function keepHouseRegularly(
  {
    escrow,
    database,
    alarms,
    log,
  }: {
    readonly escrow: Escrow;
    readonly database: Database;
    readonly alarms: AlarmBook;
    readonly log: OperatorLog;
  },
  everyMs: number,
): Promise<() => Promise<void>> {
  let missed = '';
  let contradicted = '';
  const round = async (): Promise<Housekeeping> => {
    const done = await keepHouse(escrow, database.journal);
    const missing = done.missing.join(' ');
    if (missing !== missed && missing !== '')
      log.error('the token does not hold what the records say that it holds', {
        alarm: 'token-object-missing',
        objects: missing,
      });
    missed = missing;
    const records = done.contradictions.map(({ id }) => id).join(' ');
    if (records !== contradicted && records === '') {
      alarms.clear('record-mismatch');
      log.info('the records say what the log says again');
    } else if (records !== contradicted) {
      log.error('records do not say what the log says; they are passed over', {
        alarm: 'record-mismatch',
        records: inWords(done.contradictions),
      });
    }
    contradicted = records;
    return done;
  };
  // a daemon whose clock is off serves nobody, and goes on by itself when that is over
  const first = await round().catch((error: unknown) => {
    if (error instanceof EscrowError && error.code === 'clock-differs') return undefined;
    throw error;
  });
  if (first !== undefined) {
    const { missing, contradictions, ...counts } = first;
    log.info('settled what was left', {
      ...counts,
      missing: missing.length,
      contradictions: contradictions.length,
    });
  }
  const stopping = new AbortController();
  const rounds = (async (): Promise<void> => {
    while (await pausedFor(everyMs, stopping.signal)) {
      await round().catch((error: unknown) => {
        log.warn('housekeeping failed; it is tried again', { reason: reasonsOf(error) });
      });
    }
  })();
  return async () => {
    stopping.abort();
    await rounds;
    await escrow.ledger.recordCounted(0).catch((error: unknown) => {
      log.warn('refusals that were counted could not be recorded', { reason: reasonsOf(error) });
    });
  };
}

/** So many records are named, at most. */
const MAX_NAMED = 8;

function inWords(contradictions: Housekeeping['contradictions']): string {
  const named = contradictions.slice(0, MAX_NAMED).map(({ id, reason }) => `${id} (${reason})`);
  const more = contradictions.length - named.length;
  return `${named.join(', ')}${more > 0 ? `, and ${more} more` : ''}`;
}

/** Whether the time passed without being told to stop. */
async function pausedFor(ms: number, stop: AbortSignal): Promise<boolean> {
  await pause(ms, undefined, { signal: stop }).catch(() => undefined);
  return !stop.aborted;
}

function limitsOf({ requests }: Config): Partial<Limits> {
  return {
    maxBodyBytes: requests.maxBodyBytes,
    maxInFlight: requests.atOnce,
    maxConnections: requests.connections,
    connectionsPerAddress: requests.perAddress.connections,
    handshakeTimeoutMs: requests.handshakeMs,
    requestTimeoutMs: requests.receiveMs,
    headersTimeoutMs: Math.min(10_000, requests.receiveMs),
    answerTimeoutMs: requests.answerMs,
    perCaller: requests.perCaller,
    perAddress: requests.perAddress,
    unknownBytes: requests.unknownBytes,
  };
}

async function openManagement(
  { management }: Config,
  health: () => Health,
): Promise<ManagementListener | undefined> {
  if (management === 'off') return undefined;
  try {
    return await listenForManagement(management, health);
  } catch (error) {
    const at = `${management.host} port ${management.port}`;
    throw new ConfigError(`management: cannot listen on ${at}; name another address, or "off"`, {
      cause: error,
    });
  }
}

function urlOf({ host, port }: { readonly host: string; readonly port: number }): string {
  return `http://${host.includes(':') ? `[${host}]` : host}:${port}`;
}

function readWitnesses({ witnesses }: Config): readonly WitnessAt[] {
  return witnesses.map(({ key, url, ca: file }) => {
    try {
      return { key, url, ...(file === undefined ? {} : { ca: decodeText(readFileSync(file), file) }) };
    } catch (error) {
      throw new ConfigError(`the CA of the witness ${key.name} cannot be read`, { cause: error });
    }
  });
}

const read = (file: string): string => decodeText(readFileSync(file), file);

function readTls(config: Config): { readonly cert: string; readonly key: string } {
  try {
    return { cert: read(config.tls.certificate), key: read(config.tls.key) };
  } catch (error) {
    throw new ConfigError('the TLS certificate or key cannot be read', { cause: error });
  }
}

/** Version 0 of the policy: the first administrators, who sign the first real one. */
function readAdministrators(file: string): Policy {
  try {
    const people = JSON.parse(decodeText(readFileSync(file), file)) as readonly {
      readonly id: string;
      readonly keys: unknown;
    }[];
    // the first policy names the hash of this one: the order of people in the file means nothing
    const principals = [...people]
      .sort((a, b) => (a.id < b.id ? -1 : 1))
      .map(({ id, keys }) => ({ id, kind: 'person', name: id, roles: ['admin'], keys }));
    return parsePolicy(JSON.stringify({ version: 1, principals, rules: [] }), 0);
  } catch (error) {
    throw new ConfigError(
      `${file} is not a list of administrators: ${error instanceof Error ? error.message : ''}`,
      {
        cause: error,
      },
    );
  }
}

function jwkOf(spki: Uint8Array): Readonly<Record<string, string>> {
  const jwk = createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' }).export({
    format: 'jwk',
  });
  return Object.fromEntries(Object.entries(jwk).map(([name, value]) => [name, String(value)]));
}
