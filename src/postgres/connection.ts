import { Client } from 'pg';
import type { ConnectionSettings } from '../privatePostgres/lock.js';
import { urlsOfHosts } from './databaseUrl.js';
import { withPassword } from './passwordFile.js';

/** A database and a role in it: settings of the private cluster, or a `postgresql://` URL, which may name several hosts. */
export type Connection = ConnectionSettings | string;

/** What pg and knex both take. */
export type ClientSettings = (
  { readonly connectionString: string } | (ConnectionSettings & { readonly ssl: false })
) & {
  readonly application_name: string;
  readonly connectionTimeoutMillis: number;
  readonly keepAlive: true;
  readonly keepAliveInitialDelayMillis: number;
};

/**
 * Settings of the driver for one connection to one host, with the password that the file of PGPASSFILE has for it where the URL has none.
 * `name` is what the server's administrator sees.
 * @throws DatabaseRefused as {@link withPassword} does
 */
export function clientConfig(connection: Connection, name: string, connectTimeoutMs: number): ClientSettings {
  const target =
    typeof connection === 'string'
      ? { connectionString: withPassword(connection, process.env['PGPASSFILE']) }
      : { ...connection, ssl: false as const };
  return {
    ...target,
    application_name: name,
    connectionTimeoutMillis: connectTimeoutMs,
    keepAlive: true,
    keepAliveInitialDelayMillis: 10_000,
  };
}

export function roleOf(connection: Connection): string {
  if (typeof connection !== 'string') return connection.user;
  return new Client({ connectionString: urlsOfHosts(connection)[0] }).user ?? '';
}
