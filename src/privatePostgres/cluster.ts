import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { ClusterError, ClusterInUse } from './errors.js';
import { backOffMs } from '../system/backOff.js';
import { messageOf } from '../system/errors.js';
import { connectionsTo, type ClusterConnections } from './connections.js';
import { tryLock, type HeldLock } from './lock.js';
import { markReady } from './paths.js';
import { sweepDrafts } from './initialise.js';
import { boundLog, findPostmaster, launch, logFile, logTail, shutDown, type Launched } from './postmaster.js';
import { prepare, type Prepared } from './prepare.js';
import type { ClusterOptions } from './options.js';
import { asClusterError } from './requirePlace.js';

/** A private PostgreSQL that runs, is supervised, and is this daemon's alone. */
export interface Cluster extends ClusterConnections {
  /** The server's own log file. */
  readonly logFile: string;
  /** Shuts the server down and lets go of the cluster; resolves when the process is gone. Once, however often called. */
  stop(): Promise<void>;
}

interface Held {
  readonly lock: HeldLock;
  readonly socketDirectory: string;
}

/** A server that ends this often before it answers will not do better. */
const launchLimit = 5;
const rests = { firstMs: 250, longestMs: 10_000 } as const;
/** A server that ran this long was well: the next restart is not put off. */
const settledAfterMs = 60_000;
const boundLogEveryMs = 60_000;

/**
 * Starts the private cluster of `options.directory`, making it on the first start, or adopts the server of a daemon that
 * was killed. Resolves when the server answers and this daemon alone holds it; then supervises it until `stop`.
 *
 * Rejects with `ClusterInUse` when another daemon holds it, also one that started at the same instant, and leaves that
 * one alone. Rejects with `ClusterError` when there are no binaries, or they do not match the data, or the server does
 * not come up in time; a server that is still recovering then is left to finish, and the next start adopts it.
 */
export async function startCluster(options: ClusterOptions): Promise<Cluster> {
  const deadline = performance.now() + options.startTimeoutMs;
  const prepared = await prepare(options, deadline);
  const held = await bringUp(prepared, prepared.paths.socketDirectory, deadline).catch((error: unknown) => {
    throw asClusterError(options.directory, error);
  });
  try {
    await markReady(prepared.paths);
    await sweepDrafts(prepared.paths);
  } catch (error) {
    await held.lock.release();
    throw asClusterError(options.directory, error);
  }
  options.log.info(
    `PostgreSQL ${prepared.binaries.version} from ${prepared.binaries.directory} runs on ${prepared.paths.data}`,
  );
  return supervise(prepared, held);
}

/** Gets a server to answer, one that runs or a new one with its socket in `plannedSocket`, and takes its lock. */
async function bringUp(prepared: Prepared, plannedSocket: string, deadline: number): Promise<Held> {
  const { options, paths, binaries, user } = prepared;
  let launched: Launched | undefined;
  let launches = 0;
  for (let pauseMs = 10; ; pauseMs = Math.min(2 * pauseMs, 200)) {
    const running = await findPostmaster(paths.data);
    const socketDirectory = running?.socketDirectory ?? plannedSocket;
    const attempt = await tryLock(connectionsTo(prepared.passwords, socketDirectory).owner);
    if (attempt.state === 'held') return { lock: attempt.lock, socketDirectory };
    if (attempt.state === 'taken') throw new ClusterInUse(options.directory);

    const launching = launched?.hasEnded() === false;
    if (running === undefined && !launching) {
      if (launches === launchLimit) throw await notStarted(prepared, attempt.cause, 'ends at once');
      if (launches > 0) await delay(100 * 2 ** launches);
      launched = await launch(paths, plannedSocket, binaries, user);
      launches += 1;
    }
    if (performance.now() >= deadline) {
      throw await notStarted(prepared, attempt.cause, `did not answer within ${options.startTimeoutMs} ms`);
    }
    await delay(pauseMs);
  }
}

async function notStarted(prepared: Prepared, cause: Error, what: string): Promise<ClusterError> {
  const tail = await logTail(prepared.paths);
  return new ClusterError(
    'start-failed',
    `the PostgreSQL server of ${prepared.options.directory} ${what} (${cause.message}); its log ends with:\n${tail}`,
    { cause },
  );
}

/** Watches the lock, brings the server back when it goes, and stops it at last. */
function supervise(prepared: Prepared, held: Held): Cluster {
  const stopping = new AbortController();
  const { paths, options } = prepared;
  const log = setInterval(() => {
    boundLog(paths).catch((error: unknown) => {
      options.log.warn(`the log of PostgreSQL could not be cut: ${messageOf(error)}`);
    });
  }, boundLogEveryMs).unref();
  const watch = keepHeld(prepared, held, stopping.signal);
  let stopped: Promise<void> | undefined;

  const stop = async (): Promise<void> => {
    stopping.abort();
    clearInterval(log);
    const last = await watch;
    if (last === undefined) return;
    const server = await findPostmaster(paths.data);
    if (server !== undefined && (await shutDown(server, options.stopTimeoutMs)) === 'immediate') {
      options.log.warn(`PostgreSQL did not stop within ${options.stopTimeoutMs} ms and was stopped at once`);
    }
    await last.lock.release();
  };
  return {
    ...connectionsTo(prepared.passwords, held.socketDirectory),
    logFile: logFile(paths),
    stop: async () => (stopped ??= stop()),
  };
}

/** Holds the lock until `stopping`, and returns it; undefined when it is not had at that time, and nothing is to stop. */
async function keepHeld(prepared: Prepared, first: Held, stopping: AbortSignal): Promise<Held | undefined> {
  const { log, onLost } = prepared.options;
  const stop = once(stopping, 'abort').then(() => 'stop' as const);
  let held: Held = first;
  let tries = 0;
  for (;;) {
    const since = performance.now();
    const cause = await Promise.race([stop, held.lock.lost]);
    if (cause === 'stop') return held;
    log.warn(`PostgreSQL was lost (${cause.message}): bringing it back`);
    onLost({ state: 'recovering', cause });
    if (performance.now() - since > settledAfterMs) tries = 0;
    for (let back: Held | undefined; back === undefined;) {
      const pauseMs = tries === 0 ? 0 : backOffMs(tries, rests);
      await delay(pauseMs, undefined, { signal: stopping }).catch(() => undefined);
      tries += 1;
      if (stopping.aborted) return undefined;
      const result = await bringBack(prepared, first.socketDirectory);
      if (result === 'taken') return undefined;
      if (result !== undefined) held = back = result;
    }
  }
}

/** One attempt at having server and lock again; undefined when it failed and another may succeed. */
async function bringBack(prepared: Prepared, socketDirectory: string): Promise<Held | 'taken' | undefined> {
  const { log, onLost, startTimeoutMs } = prepared.options;
  try {
    const held = await bringUp(prepared, socketDirectory, performance.now() + startTimeoutMs);
    log.info('PostgreSQL is back');
    return held;
  } catch (error) {
    if (!(error instanceof ClusterInUse)) {
      log.warn(messageOf(error));
      return undefined;
    }
    log.warn(error.message);
    onLost({ state: 'taken', cause: error });
    return 'taken';
  }
}
