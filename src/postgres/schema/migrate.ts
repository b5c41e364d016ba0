import knex, { type Knex } from 'knex';
import { DatabaseError } from 'pg';
import { faultIn } from '../connectFault.js';
import type { Connection } from '../connection.js';
import { unavailable } from '../faults.js';
import { connectBy, silent } from '../pool.js';
import { Servers } from '../servers.js';
import { migration010 } from './010.js';
import { migration011 } from './011.js';
import { migration012 } from './012.js';
import { migration013 } from './013.js';
import { migration014 } from './014.js';
import { migration015 } from './015.js';
import { migration017 } from './017.js';
import { migration018 } from './018.js';
import { migration021 } from './021.js';
import { migration022 } from './022.js';
import { migration026 } from './026.js';
import { migration027 } from './027.js';
import type { Migration } from './migration.js';
import { rights } from './rights.js';
import { migrationsUpTo005 } from './upTo005.js';
import { migrationsUpTo009 } from './upTo009.js';

/** The schema that this program needs is not there, and it was not given the owner's connection to make it. */
export class SchemaMissing extends Error {
  override readonly name = 'SchemaMissing';
}

/** A newer version of this program has made the schema: this one would write into it what that one does not expect. */
export class SchemaNewer extends Error {
  override readonly name = 'SchemaNewer';
}

/** In the order in which they run. */
const migrations: readonly Migration[] = [
  ...migrationsUpTo005,
  ...migrationsUpTo009,
  migration010,
  migration011,
  migration012,
  migration013,
  migration014,
  migration015,
  migration017,
  migration018,
  migration021,
  migration022,
  migration026,
  migration027,
];

/** Daemons that start at the same time migrate one after another; the number is this program's own. */
const migrationLock = 0x65736372;

/**
 * Brings the schema to what this program needs, as its owner, and grants `daemonRole` its rights; all in one
 * transaction. Several may do so at once. Throws EscrowError `store-unavailable` when the database does not answer.
 */
export async function migrate(owner: Connection, daemonRole: string, timeoutMs: number): Promise<void> {
  const database = knex({
    client: 'pg',
    connection: {},
    pool: { min: 0, max: 1 },
    acquireConnectionTimeout: timeoutMs,
    log: silent,
  });
  const servers = Servers.of(owner);
  connectBy(database, () => servers.connect('escrowd owner', timeoutMs, { statement_timeout: timeoutMs }));
  try {
    await database.transaction(async (trx) => {
      await trx.raw('select pg_advisory_xact_lock(?)', [migrationLock]);
      requireNoNewer(
        await schemaState(async <Row>(sql: string) => (await trx.raw<{ rows: readonly Row[] }>(sql)).rows),
      );
      await trx.migrate.latest({ migrationSource: source });
      await grantTo(trx, daemonRole);
    });
  } catch (error) {
    throw error instanceof DatabaseError && error.code === '42501' ? faultIn(error) : unavailable(error);
  } finally {
    await database.destroy();
  }
}

/** How the schema of a database stands to the one that this program needs, by the names of migrations. */
export interface SchemaState {
  /** Those that have not been run. */
  readonly pending: readonly string[];
  /** Those that have been run, and this program does not know. */
  readonly unknown: readonly string[];
  /** Whether any was run: else there is no schema. */
  readonly isMade: boolean;
}

/** Looks which migrations were run, as any role that may read the list of them. */
export async function schemaState(ask: <Row>(sql: string) => Promise<readonly Row[]>): Promise<SchemaState> {
  const [table] = await ask<{ there: boolean }>(`select to_regclass('knex_migrations') is not null as there`);
  const run =
    table?.there === true ? await ask<{ name: string }>('select name from knex_migrations order by id') : [];
  const names = new Set(run.map(({ name }) => name));
  const own = new Set(migrations.map(({ name }) => name));
  return {
    pending: [...own].filter((name) => !names.has(name)),
    unknown: [...names].filter((name) => !own.has(name)),
    isMade: names.size > 0,
  };
}

/** Throws {@link SchemaNewer} when the schema is that of a newer version of this program. */
export function requireNoNewer({ unknown }: Pick<SchemaState, 'unknown'>): void {
  const newest = migrations.at(-1)?.name ?? '';
  if (unknown.length === 0) return;
  throw new SchemaNewer(
    `the schema of the database is newer than this program: it has ${unknown.join(', ')}, and this program knows those up to ${newest}. ` +
      'Run the version of escrowd that made it, or a newer one',
  );
}

/** Throws {@link SchemaMissing} when the schema is older than this program needs, or not there. */
export function requireNonePending({ pending }: Pick<SchemaState, 'pending'>): void {
  if (pending.length === 0) return;
  throw new SchemaMissing(
    `the database lacks the migrations ${pending.join(', ')}, and its owner's connection is not given`,
  );
}

const source: Knex.MigrationSource<Migration> = {
  getMigrations: () => Promise.resolve([...migrations]),
  getMigrationName: ({ name }) => name,
  getMigration: ({ sql }) =>
    Promise.resolve({
      up: async (trx: Knex) => {
        await trx.raw(sql);
      },
      down: () => Promise.reject(new Error('a schema that holds a log is not taken back')),
    }),
};

async function grantTo(trx: Knex.Transaction, role: string): Promise<void> {
  const { rows } = await trx.raw<{ rows: readonly { same: boolean }[] }>('select current_user = ? as same', [
    role,
  ]);
  if (rows[0]?.same === true) return;
  await trx.raw('grant usage on schema public to ??', [role]);
  for (const [table, allowed] of Object.entries(rights)) {
    await trx.raw('revoke all on ?? from ??', [table, role]);
    await trx.raw(`grant ${allowed} on ?? to ??`, [table, role]);
  }
}
