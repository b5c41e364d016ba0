import type { Client } from 'pg';
import { DatabaseError } from 'pg';
import { from as copyFrom, to as copyTo } from 'pg-copy-streams';

import { type Connection, roleOf } from './connection.js';
import { Servers } from './servers.js';
import { migrate } from './schema/migrate.js';
import { rights } from './schema/rights.js';
import { lostKeys } from './lostKeys.js';
import { messageOf } from '../system/errors.js';

/** A copy cannot be made, or not be put into this database. The message is for the operator. */
export class CopyRefused extends Error {
  override readonly name = 'CopyRefused';
}

/** What a copy of the database is of. */
export interface CopiedDatabase {
  readonly migrations: readonly string[];
  readonly rows: Readonly<Record<string, number>>;
  readonly checkpoint: string | null;
}

/** A piece is not much longer: neither side holds more in memory. */
const PIECE_BYTES = 4 * 1024 * 1024;
const CONNECT_MS = 10_000;
const MIGRATE_MS = 60_000;
/** What migrating makes by itself. */
const OF_MIGRATIONS = 'knex_migrations';
const OWN_TABLES: ReadonlySet<string> = new Set(
  Object.keys(rights).filter((name) => !name.startsWith(OF_MIGRATIONS)),
);

/**
 * Copies every table as one transaction sees them all (REPEATABLE READ), while others go on writing: rows in COPY's binary
 * format, in pieces that are put together again in their order. `begin` is given the migrations that made the schema before the first
 * of them. Any role that may read the tables will do.
 *
 * @throws CopyRefused when the database cannot be reached or read.
 */
export async function copyDatabase(
  connection: Connection,
  begin: (migrations: readonly string[]) => Promise<void>,
  add: (table: string, piece: Uint8Array) => Promise<void>,
): Promise<CopiedDatabase> {
  return onClient(connection, 'escrowd backup', async (client) => {
    await client.query('begin isolation level repeatable read read only');
    const migrations = await migrationsOf(client);
    await begin(migrations);
    const rows: Record<string, number> = {};
    for (const table of await tablesOf(client))
      rows[table.name] = await copyTable(client, table, (piece) => add(table.name, piece));
    const { rows: notes } = await client.query<{ note: string }>(
      'select note from log_checkpoint order by size desc limit 1',
    );
    await client.query('commit');
    return { migrations, rows, checkpoint: notes[0]?.note ?? null };
  });
}

/**
 * A database that is being filled with a copy, in one transaction: nothing of it is there before {@link DatabaseFilling.commit}.
 */
export interface DatabaseFilling {
  /** The next piece of a table. */
  add(table: string, piece: Uint8Array): Promise<void>;
  /** The keys of which there is no deposit as it was logged at their birth. */
  lostKeys(): Promise<readonly string[]>;
  /** Makes it durable, when each table has as many rows as it should. Throws {@link CopyRefused}. */
  commit(rows: Readonly<Record<string, number>>): Promise<void>;
  /** Leaves the database as it was found, unless it was committed. */
  close(): Promise<void>;
}

/**
 * Makes the schema in an empty database, and begins to fill it.
 *
 * @throws CopyRefused when the database holds a log already, the copy is of another schema, or it cannot be reached.
 */
export async function fillDatabase(
  owner: Connection,
  daemon: Connection,
  migrations: readonly string[],
): Promise<DatabaseFilling> {
  await onClient(owner, 'escrowd restore', requireEmpty);
  await migrate(owner, roleOf(daemon), MIGRATE_MS).catch((cause: unknown) => {
    throw new CopyRefused(`the schema of the database cannot be made: ${messageOf(cause)}`, { cause });
  });
  const client = await connected(owner, 'escrowd restore');
  try {
    requireSameSchema(await migrationsOf(client), migrations);
    await client.query('begin');
    await requireNoLog(client, 'for update');
    return await beginFilling(client);
  } catch (error) {
    await client.end();
    throw faultOf(error);
  }
}

/** Before anything is made there: the database may be another's, or one that is in use. Throws {@link CopyRefused}. */
async function requireEmpty(client: Client): Promise<void> {
  const { rows } = await client.query<{ name: string }>(
    'select tablename as name from pg_tables where schemaname = current_schema()',
  );
  const other = rows.find(({ name }) => !OWN_TABLES.has(name) && !name.startsWith(OF_MIGRATIONS));
  if (other !== undefined)
    throw new CopyRefused(`the database holds ${other.name}, which is not escrowd's: it is not an empty one`);
  if (rows.some(({ name }) => name === 'log_head')) await requireNoLog(client, '');
}

async function requireNoLog(client: Client, lock: '' | 'for update'): Promise<void> {
  const { rows } = await client.query<{ size: string }>(`select size from log_head where id = 1 ${lock}`);
  if (rows[0]?.size === '0') return;
  throw new CopyRefused('the database holds a log already: a backup is restored into an empty one');
}

async function beginFilling(client: Client): Promise<DatabaseFilling> {
  const tables = await tablesOf(client);
  const columnsOf = new Map(tables.map(({ name, columns }) => [name, columns]));
  const names = tables.map(({ name }) => name);
  const { rows: triggers } = await client.query<{ table: string; name: string; enabled: string }>(
    `select format('%I', c.relname) as table, format('%I', t.tgname) as name, t.tgenabled as enabled
     from pg_trigger t join pg_class c on c.oid = t.tgrelid
     where c.relnamespace = current_schema()::regnamespace and not t.tgisinternal`,
  );
  // the rows that the schema begins with are in the copy as well, as they are now
  for (const name of names) await client.query(`alter table ${name} disable trigger user`);
  await client.query(`truncate ${names.join(', ')}`);
  for (const { table, name, enabled } of triggers)
    await client.query(`alter table ${table} enable ${enabled === 'A' ? 'always ' : ''}trigger ${name}`);

  let current: { readonly table: string; readonly sink: ReturnType<typeof copyFrom> } | undefined;
  const counts: Record<string, number> = {};
  const end = async (): Promise<void> => {
    if (current === undefined) return;
    const { table, sink } = current;
    current = undefined;
    await new Promise<void>((resolve, reject) => sink.once('error', reject).once('finish', resolve).end());
    counts[table] = sink.rowCount;
  };
  return {
    add: async (table, piece) => {
      const columns = columnsOf.get(table);
      if (columns === undefined || counts[table] !== undefined)
        throw new CopyRefused(`the backup has rows for ${table}, which has no place for them`);
      if (current?.table !== table) {
        await end();
        const text = `copy ${table} (${columns}) from stdin (format binary)`;
        current = { table, sink: client.query(copyFrom(text)) };
        // who writes is told; that it ends when it is given up is nobody's fault
        current.sink.on('error', () => undefined);
      }
      const { sink } = current;
      await new Promise<void>((resolve, reject) => {
        sink.once('error', reject);
        sink.write(piece, (error) => {
          sink.off('error', reject);
          if (error) reject(error);
          else resolve();
        });
      }).catch((error: unknown) => {
        throw faultOf(error);
      });
    },
    lostKeys: async () => {
      await end().catch((error: unknown) => {
        throw faultOf(error);
      });
      return lostKeys(client);
    },
    commit: async (rows) => {
      await end().catch((error: unknown) => {
        throw faultOf(error);
      });
      const wrong = Object.keys({ ...rows, ...counts }).filter(
        (name) => (rows[name] ?? 0) !== (counts[name] ?? 0),
      );
      if (wrong.length > 0) throw new CopyRefused(`not all rows are there: ${wrong.join(', ')}`);
      await client.query('commit');
    },
    close: () => client.end(),
  };
}

function requireSameSchema(here: readonly string[], there: readonly string[]): void {
  if (here.join('\n') === there.join('\n')) return;
  const missing = there.filter((name) => !here.includes(name));
  throw new CopyRefused(
    missing.length > 0
      ? `the backup is of a newer version of escrowd, which knows ${missing.join(', ')}: restore it with that version`
      : `the backup is of an older version of escrowd, whose schema ended with ${there.at(-1) ?? 'nothing'}: restore it with that version, then start this one on it`,
  );
}

interface Table {
  readonly name: string;
  /** Those that hold something of their own, in SQL. */
  readonly columns: string;
}

async function tablesOf(client: Client): Promise<readonly Table[]> {
  const { rows } = await client.query<Table>(
    `select format('%I', t.tablename) as name, string_agg(format('%I', c.column_name), ', ' order by c.ordinal_position) as columns
     from pg_tables t join information_schema.columns c on c.table_schema = t.schemaname and c.table_name = t.tablename
     where t.schemaname = current_schema() and c.is_generated = 'NEVER' group by t.tablename order by 1`,
  );
  return rows.filter(({ name }) => OWN_TABLES.has(name));
}

async function migrationsOf(client: Client): Promise<readonly string[]> {
  const { rows } = await client.query<{ name: string }>('select name from knex_migrations order by id');
  return rows.map(({ name }) => name);
}

async function copyTable(
  client: Client,
  { name, columns }: Table,
  add: (piece: Uint8Array) => Promise<void>,
): Promise<number> {
  const stream = client.query(copyTo(`copy (select ${columns} from ${name}) to stdout (format binary)`));
  let kept: Buffer[] = [];
  let length = 0;
  const put = async (): Promise<void> => {
    await add(Buffer.concat(kept));
    kept = [];
    length = 0;
  };
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    kept.push(chunk);
    length += chunk.length;
    if (length >= PIECE_BYTES) await put();
  }
  if (length > 0) await put();
  return stream.rowCount;
}

async function onClient<T>(
  connection: Connection,
  name: string,
  work: (client: Client) => Promise<T>,
): Promise<T> {
  const client = await connected(connection, name);
  try {
    return await work(client);
  } catch (error) {
    throw faultOf(error);
  } finally {
    await client.end();
  }
}

async function connected(connection: Connection, name: string): Promise<Client> {
  try {
    return await Servers.of(connection).connect(name, CONNECT_MS);
  } catch (cause) {
    throw new CopyRefused(`the database cannot be reached: ${messageOf(cause)}`, { cause });
  }
}

/** What the database or the way to it has to say; everything else is the caller's own. */
function faultOf(error: unknown): Error {
  const isLost = messageOf(error).startsWith('Connection terminated');
  if (error instanceof DatabaseError || isLost)
    return new CopyRefused(`the database refuses: ${messageOf(error)}`, { cause: error });
  return error instanceof Error ? error : new Error(messageOf(error));
}
