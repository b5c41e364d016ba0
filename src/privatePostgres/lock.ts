import { Client } from 'pg';
import { ClusterError } from './errors.js';
import { codeOf, messageOf } from '../system/errors.js';

/** How to reach the cluster as one role. `host` is the socket's directory. */
export interface ConnectionSettings {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
  readonly database: string;
}

/** The cluster's lock, held for as long as its connection lives. */
export interface HeldLock {
  /** Resolves, with the reason, when the connection is gone and the lock with it. Never rejects. */
  readonly lost: Promise<Error>;
  /** Lets go, when that has not happened yet. */
  release(): Promise<void>;
}

export type LockAttempt =
  | { readonly state: 'held'; readonly lock: HeldLock }
  | { readonly state: 'taken' }
  /** Nobody answers, or a server that is just starting or stopping does. */
  | { readonly state: 'unavailable'; readonly cause: Error };

/** The advisory lock's two halves: 'escr', and the use. */
const lockKey = [0x65736372, 1] as const;
/** How long the connection of a daemon that was killed this instant may need to go. */
const lockWaitMs = 2000;
const connectTimeoutMs = 5000;

/** Answers that a server gives while it starts, stops, recovers from a crash, or has no place left (PostgreSQL appendix A). */
const passing = new Set([
  '57P01',
  '57P02',
  '57P03',
  '53300',
  'ENOENT',
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
]);

/**
 * Takes the lock that makes a daemon the only one on its cluster: a session-level advisory lock on a connection of its
 * own. Throws `start-failed` when the server answers, but is not ours or does not know us.
 */
export async function tryLock(settings: ConnectionSettings): Promise<LockAttempt> {
  const client = new Client({
    ...settings,
    ssl: false,
    application_name: 'escrowd lock',
    connectionTimeoutMillis: connectTimeoutMs,
  });
  const lost = endOf(client);
  try {
    await client.connect();
    await client.query(`SET lock_timeout = ${lockWaitMs}`);
    await client.query('SELECT pg_advisory_lock($1, $2)', [...lockKey]);
    return { state: 'held', lock: { lost, release: async () => client.end() } };
  } catch (error) {
    // Not awaited: a connection that was never made may not end either.
    void client.end().catch(() => undefined);
    return judge(error, settings);
  }
}

function judge(error: unknown, settings: ConnectionSettings): LockAttempt {
  const cause = new Error(messageOf(error), { cause: error });
  const code = codeOf(error);
  if (code === '55P03') return { state: 'taken' };
  // pg says that a connection broke off, or timed out, without a code.
  if (code === undefined || passing.has(code)) return { state: 'unavailable', cause };
  throw new ClusterError(
    'start-failed',
    `the PostgreSQL server in ${settings.host} refuses escrowd: ${cause.message}`,
    { cause },
  );
}

async function endOf(client: Client): Promise<Error> {
  return new Promise((resolve) => {
    let cause: Error | undefined;
    client.on('error', (error) => (cause ??= error));
    client.on('end', () => {
      resolve(cause ?? new Error('the connection was closed'));
    });
  });
}
