import knex, { type Knex } from 'knex';
import type { Client } from 'pg';
import type { PoolConnections } from '../escrow/ports/databaseState.js';
import type { Connection } from './connection.js';
import { unavailable } from './faults.js';
import { Servers } from './servers.js';

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
  connection: Connection | Servers,
  timeouts: { readonly connectMs: number; readonly queryMs: number },
  size: number,
): Pool {
  const servers = Servers.of(connection);
  const database = knex({
    client: 'pg',
    // it makes none by itself: see below
    connection: {},
    pool: { min: 0, max: size, validate: (client: Client) => servers.isCurrent(client) },
    acquireConnectionTimeout: timeouts.connectMs,
    log: silent,
  });
  connectBy(database, () =>
    servers.connect('escrowd', timeouts.connectMs, {
      // On the server as well, so that it does not go on with what nobody waits for.
      statement_timeout: timeouts.queryMs,
      idle_in_transaction_session_timeout: timeouts.queryMs * 2,
    }),
  );

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

/** Has knex make its connections in this way; those that are lost it takes out of the pool by the mark that its own have. */
export function connectBy(database: Knex, connect: () => Promise<Client>): void {
  const client = database.client as Pick<Knex.Client, 'acquireRawConnection'>;
  client.acquireRawConnection = async () => {
    const connection: Client & { __knex__disposed?: unknown } = await connect();
    const dispose = (error?: unknown): void => {
      connection.__knex__disposed = error ?? 'Connection ended unexpectedly';
    };
    connection.on('error', dispose);
    connection.on('end', dispose);
    return connection;
  };
}
