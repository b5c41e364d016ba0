import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { readPaths } from '../../src/privatePostgres/paths.js';
import type { ConnectionSettings } from '../../src/privatePostgres/lock.js';
import { databaseName, ownerRole } from '../../src/privatePostgres/initialise.js';
import { port } from '../../src/privatePostgres/postmaster.js';
import type { DepositRow, RecoveryRow } from '../../src/postgres/rows.js';
import { toDeposit, toRecovery } from '../../src/postgres/rows.js';
import type { Deposit } from '../../src/escrow/records/deposit.js';
import type { Recovery } from '../../src/escrow/records/recovery.js';
import { query } from './postgres.js';
import type { System } from './system.js';

/** Everything that stands in a system's database. */
export interface DatabaseDump {
  readonly deposits: readonly Deposit[];
  readonly recoveries: readonly Recovery[];
  /** Every row of every table with all its columns, as JSON text; bytes in hexadecimal. */
  readonly rows: readonly { readonly table: string; readonly text: string }[];
}

/** The connection of the role that owns the private database of a running system. */
export async function ownerOf(system: System): Promise<ConnectionSettings> {
  const directory = join(system.directory, 'postgres');
  const place = await readPaths(directory);
  if (place === undefined) throw new Error(`no cluster lies in ${directory}`);
  const passwords = JSON.parse(readFileSync(join(directory, 'passwords.json'), 'utf8')) as { owner: string };
  return {
    host: place.socketDirectory,
    port,
    user: ownerRole,
    password: passwords.owner,
    database: databaseName,
  };
}

/** Reads all of it, as the role that owns it. */
export async function dumpDatabase(system: System): Promise<DatabaseDump> {
  const owner = await ownerOf(system);
  const tables = await query<{ name: string }>(
    owner,
    `select format('%I.%I', schemaname, tablename) as name from pg_tables
     where schemaname not in ('pg_catalog', 'information_schema') order by 1`,
  );
  const rows: { table: string; text: string }[] = [];
  for (const { name } of tables) {
    const found = await query<{ text: string }>(owner, `select to_jsonb(t)::text as text from ${name} t`);
    rows.push(...found.map(({ text }) => ({ table: name, text })));
  }
  const deposits = await query<DepositRow>(owner, 'select key, created_at, document from deposit');
  const recoveries = await query<RecoveryRow>(owner, 'select id, filed_at, document from recovery');
  return { deposits: deposits.map(toDeposit), recoveries: recoveries.map(toRecovery), rows };
}
