import knex, { type Knex } from 'knex';
import { clientConfig } from '../../../src/postgres/connection.js';
import type { Migration } from '../../../src/postgres/schema/migration.js';
import type { TestServer } from '../../support/postgres.js';

/** Brings the empty database to the last of these, as the program did when it was the last. */
export async function migrateTo(server: TestServer, migrations: readonly Migration[]): Promise<void> {
  const connection = { ...clientConfig(server.owner, 'test', 10_000) };
  const owner = knex({ client: 'pg', connection, pool: { min: 0, max: 1 } });
  const migrationSource: Knex.MigrationSource<Migration> = {
    getMigrations: () => Promise.resolve([...migrations]),
    getMigrationName: ({ name }) => name,
    getMigration: ({ sql }) =>
      Promise.resolve({
        up: async (trx: Knex) => {
          await trx.raw(sql);
        },
        down: () => Promise.reject(new Error('no way back')),
      }),
  };
  try {
    await owner.migrate.latest({ migrationSource });
  } finally {
    await owner.destroy();
  }
}
