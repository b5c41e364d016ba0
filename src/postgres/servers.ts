import { Client, type ClientConfig } from 'pg';
import { messageOf } from '../system/errors.js';
import { faultIn } from './connectFault.js';
import { clientConfig, type Connection } from './connection.js';
import { urlsOfHosts } from './databaseUrl.js';
import { DatabaseAway, DatabaseRefused } from './faults.js';

/** Says of a session whether it can write: libpq's `target_session_attrs=read-write`. */
const SESSION = `
  select pg_is_in_recovery() as "isStandby", current_setting('transaction_read_only') = 'on' as "isReadOnly"`;

/**
 * The servers that a connection names, of which one can be written to. All connections of a daemon are made by one of these, so
 * that they lead to one server: the one that the last was made to is tried first.
 */
export class Servers {
  /** Each with one host. */
  readonly #each: readonly [Connection, ...Connection[]];
  /** Which of them is the primary, as far as is known. */
  #primary = 0;
  readonly #servers = new WeakMap<Client, number>();

  private constructor(connection: Connection) {
    this.#each = typeof connection === 'string' ? urlsOfHosts(connection) : [connection];
  }

  static of(connection: Connection | Servers): Servers {
    return connection instanceof Servers ? connection : new Servers(connection);
  }

  /** How many there are. */
  get count(): number {
    return this.#each.length;
  }

  /**
   * Connects to the server; where there are several, to the first that can be written to, each of which has its part of `connectMs`.
   * Errors of the connection that nobody waits for are passed over.
   *
   * @throws what the driver throws, where there is one server; DatabaseRefused or DatabaseAway saying it of each, where there are several
   */
  async connect(name: string, connectMs: number, more: ClientConfig = {}): Promise<Client> {
    const [only, ...others] = this.#each;
    if (others.length === 0) return connected(only, name, connectMs, more);
    const first = this.#primary;
    const faults: Error[] = [];
    for (let tried = 0; tried < this.count; tried += 1) {
      const at = (first + tried) % this.count;
      try {
        const client = await this.#connectTo(at, name, connectMs / this.count, more);
        this.#primary = at;
        return client;
      } catch (error) {
        faults.push(faultIn(error));
      }
    }
    const message = `none of the servers can be written to: ${faults.map(messageOf).join('; ')}`;
    const refused = faults.find((fault) => fault instanceof DatabaseRefused);
    const cause = refused ?? faults[0];
    if (refused !== undefined) throw new DatabaseRefused(refused.reason, message, refused.remedy, { cause });
    throw new DatabaseAway(message, { cause });
  }

  /** Whether the server of this connection is the one that others are made to. */
  isCurrent(client: Client): boolean {
    return (this.#servers.get(client) ?? this.#primary) === this.#primary;
  }

  /** What there is to be said of each server but the one that can be written to: why a daemon could not go on there. */
  async others(name: string, connectMs: number): Promise<readonly Error[]> {
    const looked = this.#each.map(async (connection, at) => {
      if (at === this.#primary || this.count === 1) return undefined;
      const client = await connected(connection, name, connectMs, {}).catch((error: unknown) => error);
      if (!(client instanceof Client)) return ofHost(connection, faultIn(client));
      void client.end().catch(() => undefined);
      return undefined;
    });
    return (await Promise.all(looked)).filter((fault) => fault !== undefined);
  }

  async #connectTo(at: number, name: string, connectMs: number, more: ClientConfig): Promise<Client> {
    const connection = this.#each[at] ?? this.#each[0];
    try {
      const client = await connected(connection, name, connectMs, more, requireWritable);
      this.#servers.set(client, at);
      return client;
    } catch (error) {
      throw ofHost(connection, faultIn(error));
    }
  }
}

/** Connects to one server, and does `check` in the same time; cuts the connection when either fails. */
async function connected(
  connection: Connection,
  name: string,
  connectMs: number,
  more: ClientConfig,
  check?: (client: Client) => Promise<void>,
): Promise<Client> {
  const client = new Client({ ...clientConfig(connection, name, connectMs), ...more });
  client.on('error', () => undefined);
  // TLS puts another in front of it
  const { stream } = client.connection;
  const timer = setTimeout(() => {
    client.connection.stream.destroy(new Error('timeout expired'));
  }, connectMs);
  try {
    await client.connect();
    await check?.(client);
    return client;
  } catch (error) {
    client.connection.stream.destroy();
    stream.destroy();
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

async function requireWritable(client: Client): Promise<void> {
  const [session] = (await client.query<{ isStandby: boolean; isReadOnly: boolean }>(SESSION)).rows;
  if (session?.isStandby === true) throw new DatabaseAway('the server is a standby');
  if (session?.isReadOnly === true) throw new DatabaseAway('its transactions are read-only');
}

function ofHost(connection: Connection, fault: Error): Error {
  const { host, port } = new Client(
    typeof connection === 'string' ? { connectionString: connection } : { ...connection, ssl: false },
  );
  const message = `${host}:${port}: ${fault.message}`;
  return fault instanceof DatabaseRefused
    ? new DatabaseRefused(fault.reason, message, fault.remedy, { cause: fault })
    : new DatabaseAway(message, { cause: fault });
}
