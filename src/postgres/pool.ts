import knex, { type Knex } from 'knex';
import { clientConfig, type Connection } from './connection.js';
import { unavailable } from './faults.js';

/** Asks one statement in SQL, `?` standing for what is bound. */
export type Ask = <Row>(sql: string, bindings?: readonly Knex.RawBinding[]) => Promise<readonly Row[]>;

/** What knex would print is thrown as well. */
export const silent: Knex.Logger = {
  warn: () => undefined,
  error: () => undefined,
  debug: () => undefined,
  deprecate: () => undefined,
};

/** The connections of the daemon's role, for everything but appending. Every statement has a deadline. */
export interface Pool {
  readonly ask: Ask;
  /** Runs `work` in one transaction, READ COMMITTED, and commits when it resolves. */
  transaction<T>(work: (ask: Ask) => Promise<T>): Promise<T>;
  /** Runs `work` on one snapshot (REPEATABLE READ); it can only read. */
  snapshot<T>(work: (ask: Ask) => Promise<T>): Promise<T>;
  /** How many connections there are now; costs nothing. */
  connections(): PoolConnections;
  close(): Promise<void>;
}

/** The connections of a pool. */
export interface PoolConnections {
  readonly used: number;
  readonly idle: number;
  /** Those who wait for one. */
  readonly waiting: number;
  readonly limit: number;
}

/** As far as it is asked; knex does not say what its client has. */
interface TarnPool {
  numUsed(): number;
  numFree(): number;
  numPendingAcquires(): number;
}

/**
 * Opens the pool; it connects when it is first asked. Throws EscrowError `store-unavailable` from whatever is asked
 * when the database does not answer in time.
 */
export function openPool(
  connection: Connection,
  timeouts: { readonly connectMs: number; readonly queryMs: number },
  size: number,
): Pool {
  const database = knex({
    client: 'pg',
    connection: {
      ...clientConfig(connection, 'escrowd', timeouts.connectMs),
      // On the server as well, so that it does not go on with what nobody waits for.
      statement_timeout: timeouts.queryMs,
      idle_in_transaction_session_timeout: timeouts.queryMs * 2,
    },
    pool: { min: 0, max: size },
    acquireConnectionTimeout: timeouts.connectMs,
    log: silent,
  });

  const asking =
    (through: Knex): Ask =>
    async <Row>(sql: string, bindings: readonly Knex.RawBinding[] = []) => {
      try {
        // knex destroys a connection whose statement ran into this deadline; the driver's own leaves it in the pool.
        const { rows } = await through.raw<{ rows: Row[] }>(sql, bindings).timeout(timeouts.queryMs);
        return rows;
      } catch (error) {
        throw unavailable(error);
      }
    };

  const within = async <T>(
    work: (ask: Ask) => Promise<T>,
    isolation: Pick<Knex.TransactionConfig, 'isolationLevel' | 'readOnly'>,
  ): Promise<T> => {
    let thrown: { readonly error: unknown } | undefined;
    try {
      return await database.transaction(async (trx) => {
        try {
          return await work(asking(trx));
        } catch (error) {
          thrown = { error };
          throw error;
        }
      }, isolation);
    } catch (error) {
      throw thrown === undefined ? unavailable(error) : thrown.error;
    }
  };

  return {
    ask: asking(database),
    transaction: (work) => within(work, { isolationLevel: 'read committed' }),
    snapshot: (work) => within(work, { isolationLevel: 'repeatable read', readOnly: true }),
    connections: () => {
      // tarn's, which knex makes at the start and takes away at the end
      const { pool } = database.client as { readonly pool?: TarnPool };
      const [used = 0, idle = 0, waiting = 0] = [
        pool?.numUsed(),
        pool?.numFree(),
        pool?.numPendingAcquires(),
      ];
      return { used, idle, waiting, limit: size };
    },
    close: () => database.destroy(),
  };
}
