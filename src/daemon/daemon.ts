import { join } from 'node:path';
import { createPublicKey } from 'node:crypto';

import { accessLog } from './accessLog.js';
import { composeEscrow, followWith } from './composeEscrow.js';
import type { Config } from './config.js';
import { STRAY_FOR_MS } from '../escrow/acts/strays.js';
import { unaccountedObjects } from '../escrow/acts/tokenInventory.js';
import { LogState } from '../escrow/logged/logState.js';
import { recordLoss } from '../escrow/acts/recordLoss.js';
import { watchObjects } from './foreignObjects.js';
import { refuseExposedFiles } from './exposedFiles.js';
import { inWords } from './start/fault.js';
import { AlarmBook, watchHealth } from './health.js';
import { keepHouseRegularly } from './housekeeping.js';
import { knownTo } from './known.js';
import {
  type Health,
  type ManagementListener,
  type ManagementSources,
  listenForManagement,
} from '../http/management.js';
import { metricsOf } from '../metrics/metrics.js';
import { type Limits, createServer } from '../http/server.js';
import {
  type Notifications,
  openNotifications,
  readSinkFiles,
  type SinkFiles,
} from './startNotifications.js';
import { reasonsOf } from './operatorLog.js';
import { LogDamaged } from '../postgres/faults.js';
import { releaseOf } from './release.js';
import { RepeatedLines } from './repeatedLines.js';
import { configuredToken, openProvenToken, requirePin } from './startToken.js';
import { datedCertificates, watchCertificates } from './reload/certificates.js';
import { LiveNotifications, LiveWitnessing } from './reload/liveParts.js';
import { reloading } from './reload/reloading.js';
import type { DaemonParts } from './parts.js';
import { systemClock } from './clock.js';
import { findDatabase, startDatabase } from './startDatabase.js';
import { authorityOf, refusedAddress } from './start/addresses.js';
import { requireAddresses } from './start/freeAddresses.js';
import { readTlsPair, tlsWarnings } from './start/tlsPair.js';
import { lookAtTokenPlace } from './start/tokenPlace.js';
import { packageVersion } from '../version.js';
import { readAdministrators, readWitnesses } from './readFiles.js';

export interface Daemon {
  readonly host: string;
  readonly port: number;
  /** Where whoever runs the daemon is told how it is; undefined when the configuration turns that off. */
  readonly management: { readonly host: string; readonly port: number } | undefined;
  /** Resolves with the reason when the daemon can no longer go on and must be stopped; never rejects. */
  readonly failed: Promise<Error>;
  /** Takes the configuration anew; see {@link reloading}. */
  readonly reload: (read: () => Config) => Promise<Config | undefined>;
  /** Finishes what is under way, gives back token and database, and resolves when all is closed. Once. */
  stop(): Promise<void>;
}

/**
 * Composes and starts everything: token (proved), database, log, use cases, API. What costs nothing is tried first: files,
 * certificates, addresses, then the database; the token, which takes seconds, last. What was started is stopped again when
 * a later part cannot be. Throws what the parts throw; see `exitCodeOf`.
 */
export async function startDaemon(parts: DaemonParts): Promise<Daemon> {
  const { config, log, clock = systemClock, stop } = parts;
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
    const repeated = new RepeatedLines(log);
    stack.push(() => {
      repeated.end();
      return Promise.resolve();
    });
    refuseExposedFiles(config, parts.configFile);
    const tls = readTlsPair(config);
    for (const warning of tlsWarnings(tls, config.tls.certificate)) log.warn(inWords(warning));
    const administrators = readAdministrators(config.administrators);
    const metrics = metricsOf(packageVersion(), clock);
    metrics.serves(tls.cert);
    const witnesses = readWitnesses(config);
    const sinkFiles = readSinkFiles(config.notifications);
    const configured = configuredToken(config, parts.configFile, parts.packageDirectory);
    requirePin(config);
    for (const caution of lookAtTokenPlace(config, configured.profile)) log.warn(inWords(caution));
    await requireAddresses(config);
    stop?.throwIfAborted();
    const reached = await findDatabase(parts, stack, fail);
    stop?.throwIfAborted();
    const {
      token,
      signer: unmeasured,
      certifier,
      unenforced,
    } = await openProvenToken(config, configured, log, parts);
    stack.push(() => token.close(config.requests.drainMs));
    const signer = metrics.signer(unmeasured);
    const measured = metrics.token(token);
    void token.failed.then(fail);
    const facts = new LogState();
    const follow = followWith(facts, releaseOf(parts.packageDirectory, join(import.meta.dirname, '..')));
    const using = { signer, certifier, anchorage: token, follow, alarms };
    stop?.throwIfAborted();
    const database = await startDatabase(parts, reached, using, stack);
    stop?.throwIfAborted();
    void database.failed.then((damage) => {
      log.error('the log is damaged: nothing more is built on it', {
        alarm: 'log-damaged',
        reason: reasonsOf(damage),
      });
      fail(damage);
    });

    const escrow = await composeEscrow(config, {
      ...{ administrators, facts, database, signer, metrics, clock, repeated },
      ...{ token: measured, identityKey: token.identityKey },
    });
    if (database.lost !== undefined) {
      log.error('the log has lost entries, as people have accepted', { remembered: database.lost.size });
      database.lossRecorded(database.lost, (await recordLoss(escrow, database.lost)).index);
    }
    const openSinks = (given: Config, files: SinkFiles): Promise<Notifications> =>
      openNotifications(given.notifications, files, escrow, database.outbox, { log, repeated });
    const notifications = new LiveNotifications(
      await openSinks(config, sinkFiles),
      [config.notifications, sinkFiles],
      config.requests.drainMs,
    );
    const paces = { everyMs: config.housekeepingMs, tokenEveryMs: config.inventoryMs };
    stack.push(await keepHouseRegularly({ escrow, database, alarms, log }, paces));
    const stopWatchingObjects = watchObjects({
      look: () => unaccountedObjects({ escrow, token: measured }),
      everyMs: config.inventoryMs,
      againMs: Math.min(config.inventoryMs, 2 * config.housekeepingMs + STRAY_FOR_MS),
      alarms,
      log,
    });
    stack.push(stopWatchingObjects);
    const witnessing = new LiveWitnessing(witnesses, {
      log: metrics.witnessed(database.witnessed),
      now: () => clock.now(),
      ...config.witnessing,
      tell: {
        info: (message) => void log.info(message),
        warn: (message) => void log.warn(message),
      },
    });
    stack.push(() => witnessing.stop());

    const certificates = watchCertificates(datedCertificates(config, { tls, witnesses, sinks: sinkFiles }), {
      now: () => clock.now(),
      log,
      alarms,
    });
    stack.push(() => {
      certificates.stop();
      return Promise.resolve();
    });
    const watchedDatabase = {
      health: async () => {
        const seen = await database.health();
        metrics.sawDatabase(seen);
        return seen;
      },
    };
    const watch = await watchHealth(
      { token, database: watchedDatabase, witnessing, notifications, alarms, certificates, unenforced },
      { everyMs: config.token.probeMs, staleMs: 2 * config.database.waitMs, log },
    );
    stack.push(() => watch.stop());
    let isStopping = false;
    const latest = (): Health => {
      const health = watch.latest();
      return isStopping
        ? { ...health, ok: false, problems: ['The daemon is shutting down.', ...health.problems] }
        : health;
    };
    const known = knownTo({ config, token, facts, database, witnessing });
    const management = await openManagement(config, {
      health: latest,
      metrics: () => metrics.scrape({ ...known(), health: latest() }),
    });
    stack.push(
      metrics.survey({
        escrow,
        sinks: () => notifications.states(),
        everyMs: config.surveyMs,
        failed: (what, error) =>
          log.warn(`${what} could not be looked at for /metrics`, { reason: reasonsOf(error) }),
      }),
    );
    if (management !== undefined) stack.push(() => management.close());
    const line = config.accessLog ? accessLog(log) : undefined;
    const server = createServer({
      escrow,
      tls,
      keys: { identityKey: jwkOf(token.identityKey), logKey: signer.vkey },
      limits: limitsOf(config),
      report: (error, requestId) => {
        repeated.tell('error', 'a request failed', { requestId, reason: reasonsOf(error) });
      },
      tell: (message, facts) => void log.warn(message, facts),
      isReady: () => watch.latest().ok,
      isClockOff: () => database.clocksApartMs() !== undefined,
      answered: (request) => {
        metrics.answered(request);
        line?.(request);
      },
    });
    stop?.throwIfAborted();
    const { host, port } = await server
      .listen(config.listen.host, config.listen.port)
      .catch((error: unknown) => {
        throw refusedAddress({ member: 'listen', ...config.listen }, error);
      });
    stack.push(() => server.drain(config.requests.drainMs));
    stack.push(() => {
      isStopping = true;
      return Promise.resolve();
    });
    notifications.start();
    stack.push(() => notifications.stop());
    const { reload, end } = reloading({
      ...{
        config,
        configFile: parts.configFile,
        tls,
        limitsOf,
        witnessing,
        notifications,
        certificates,
        log,
      },
      server: {
        change: (given) => {
          server.change(given);
          metrics.serves(given.tls.cert);
        },
      },
      openNotifications: openSinks,
    });
    stack.push(end);
    log.info('serving', {
      url: `https://${authorityOf({ host, port })}`,
      ...(management === undefined ? {} : { management: `http://${authorityOf(management)}` }),
      origin: config.origin,
      logKey: signer.vkey,
    });
    return { host, port, management, failed, reload, stop: unwind };
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
  sources: ManagementSources,
): Promise<ManagementListener | undefined> {
  if (management === 'off') return undefined;
  try {
    return await listenForManagement(management, sources);
  } catch (error) {
    throw refusedAddress({ member: 'management', ...management }, error);
  }
}

function jwkOf(spki: Uint8Array): Readonly<Record<string, string>> {
  const jwk = createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' }).export({
    format: 'jwk',
  });
  return Object.fromEntries(Object.entries(jwk).map(([name, value]) => [name, String(value)]));
}
