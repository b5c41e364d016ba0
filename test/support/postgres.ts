import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client } from 'pg';
import { startCluster, type Cluster } from '../../src/privatePostgres/cluster.js';
import type { ConnectionSettings } from '../../src/privatePostgres/lock.js';
import { migrate } from '../../src/postgres/schema/migrate.js';
import { CLUSTER, freshCluster, MIGRATE_MS, type FreshSchema } from './freshCluster.js';
import { readUnused, restoreUnused } from './unusedDatabase.js';

/** A private PostgreSQL server of one test suite, with one database in it. */
export interface TestServer {
  readonly owner: ConnectionSettings;
  readonly daemon: ConnectionSettings;
  /** Leaves the database as the migrations do. Nobody may be connected but idly. */
  reset(): Promise<void>;
  /** Leaves the database as it was before the first migration. Nobody may be connected but idly. */
  empty(): Promise<void>;
  /** Shuts the server down; what is in it stays. */
  halt(): Promise<void>;
  /** Starts it again, in the same place. */
  resume(): Promise<void>;
  /** Shuts it down for good. */
  stop(): Promise<void>;
}

/** Starts a server whose database is migrated, or has no schema yet. */
export async function startTestServer(schema: FreshSchema = 'migrated'): Promise<TestServer> {
  const top = mkdtempSync(join(tmpdir(), 'escrowd-test-'));
  chmodSync(top, 0o755);
  const start = (): Promise<Cluster> =>
    startCluster({
      ...CLUSTER,
      directory: join(top, 'data'),
      sharedDirectory: join(top, 'shared'),
    });
  await freshCluster(join(top, 'data'), schema);
  let cluster = await start();
  const { owner, daemon } = cluster;
  // a cluster that is a copy has it already
  if (schema === 'migrated') await migrate(owner, daemon.user, MIGRATE_MS);
  const unused = schema === 'migrated' ? await onConnection(owner, readUnused) : undefined;
  const empty = async (): Promise<void> => {
    await query(owner, 'drop schema public cascade');
    await query(owner, 'create schema public');
  };
  return {
    owner,
    daemon,
    reset: async () => {
      if (unused !== undefined && (await onConnection(owner, (ask) => restoreUnused(ask, unused)))) return;
      await empty();
      await migrate(owner, daemon.user, MIGRATE_MS);
    },
    empty,
    halt: () => cluster.stop(),
    resume: async () => {
      cluster = await start();
    },
    stop: async () => {
      await cluster.stop();
      rmSync(top, { recursive: true, force: true });
    },
  };
}

/** What has a daemon use this server. */
export function databaseEnvironment({ daemon, owner }: TestServer): Readonly<Record<string, string>> {
  return { DATABASE_URL: urlOf(daemon), DATABASE_OWNER_URL: urlOf(owner) };
}

function urlOf({ host, port, user, password, database }: ConnectionSettings): string {
  return `postgresql://${user}:${encodeURIComponent(password)}@/${database}?host=${encodeURIComponent(host)}&port=${port}`;
}

/** Runs one statement on a connection of its own. */
export async function query<Row extends object = Record<string, unknown>>(
  settings: ConnectionSettings,
  sql: string,
  values: readonly unknown[] = [],
): Promise<readonly Row[]> {
  return onConnection(settings, (ask) => ask<Row>(sql, values));
}

/** Runs statements on a connection. */
export type Ask = <Row extends object = Record<string, unknown>>(
  sql: string,
  values?: readonly unknown[],
) => Promise<readonly Row[]>;

/** Lends a connection: making one costs more than most of what is asked on it. */
export async function onConnection<T>(
  settings: ConnectionSettings,
  work: (ask: Ask) => Promise<T>,
): Promise<T> {
  const client = new Client({ ...settings, ssl: false });
  await client.connect();
  try {
    return await work(async <Row extends object>(sql: string, values: readonly unknown[] = []) => {
      const { rows } = await client.query<Row & Record<string, unknown>>(sql, [...values]);
      return rows;
    });
  } finally {
    await client.end();
  }
}
