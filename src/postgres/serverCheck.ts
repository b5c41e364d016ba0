import type { Client } from 'pg';
import { faultIn } from './connectFault.js';
import type { Connection } from './connection.js';
import { DatabaseAway, DatabaseRefused } from './faults.js';
import { type DurabilitySettings, durabilityQuery, requireDurable } from './schema/durability.js';
import { requireNonePending, requireNoNewer, type SchemaState, schemaState } from './schema/migrate.js';
import { eachRight } from './schema/rights.js';
import { Servers } from './servers.js';

/** Something about a server that keeps no daemon from starting. */
export interface ServerWarning {
  readonly what: string;
  readonly do: string;
}

/** What a server and the database in it were found to be. */
export interface ServerLook {
  /** What keeps a daemon from working there, the first first; each an error that a start throws. */
  readonly faults: readonly Error[];
  readonly warnings: readonly ServerWarning[];
  /** Undefined when the schema could not be looked at. */
  readonly schema: SchemaState | undefined;
  /** Tells this database from others; undefined when it could not be asked. */
  readonly database: string | undefined;
}

/** As what a connection is to be used. */
export interface Use {
  /** `daemon`: reads and appends. `owner`: makes the schema, and gives the daemon's role its rights. */
  readonly as: 'daemon' | 'owner';
  /** Whether an owner makes the schema and gives rights at start: then it is no fault that they are not there yet. */
  readonly isMigrated: boolean;
  readonly connectMs: number;
}

/** So many connections show whether a pooler gives the backend of one to another. */
const CONNECTIONS = 3;
const ROUNDS = 3;

/**
 * Looks whether a daemon can work on this server, by a connection that it would make. Changes nothing. Never rejects for what it
 * finds: DatabaseAway, DatabaseRefused, UnsafeDatabase, SchemaMissing and SchemaNewer are among `faults`.
 */
export async function lookAtServer(connection: Connection, use: Use): Promise<ServerLook> {
  const servers = Servers.of(connection);
  const clients: Client[] = [];
  const connected = async (): Promise<Client> => {
    const client = await servers.connect('escrowd check', use.connectMs, {
      // as those that work have it: a pooler refuses some of these
      statement_timeout: use.connectMs,
      // what is not answered is not waited for
      query_timeout: use.connectMs,
      lock_timeout: use.connectMs,
      idle_in_transaction_session_timeout: use.connectMs,
    });
    clients.push(client);
    return client;
  };
  try {
    const client = await connected();
    const [found, others] = await Promise.all([
      look(client, connected, use),
      servers.others('escrowd check', use.connectMs),
    ]);
    return { ...found, warnings: [...found.warnings, ...others.map(warningOf)] };
  } catch (error) {
    return { faults: [faultIn(error)], warnings: [], schema: undefined, database: undefined };
  } finally {
    // not awaited: a connection that was never made may not end either
    for (const client of clients) void client.end().catch(() => undefined);
  }
}

function warningOf(fault: Error): ServerWarning {
  return {
    what: `a daemon could not go on at one of the servers: ${fault.message}`,
    do:
      fault instanceof DatabaseRefused ? fault.remedy : 'see that it runs, and that this machine reaches it',
  };
}

interface Facts extends DurabilitySettings {
  readonly readOnly: string;
  readonly readOnlySource: string;
  readonly isStandby: boolean;
  readonly isSuperuser: boolean;
  readonly role: string;
  readonly database: string;
  readonly mayCreate: boolean;
}

async function look(client: Client, connected: () => Promise<Client>, use: Use): Promise<ServerLook> {
  const ask = async <Row>(sql: string, values: readonly unknown[] = []): Promise<readonly Row[]> =>
    (await client.query(sql, [...values])).rows as readonly Row[];
  const [settings] = await ask<DurabilitySettings>(durabilityQuery);
  const [facts] = await ask<Omit<Facts, keyof DurabilitySettings>>(FACTS);
  if (facts === undefined || settings === undefined) throw new Error('the server says nothing of itself');
  if (facts.isStandby)
    throw new DatabaseAway(
      'the server is a standby, which cannot be written to: it waits to become the primary',
    );
  const faults: Error[] = [];
  const found = (check: () => void): void => {
    try {
      check();
    } catch (error) {
      faults.push(error instanceof Error ? error : new Error(String(error)));
    }
  };
  const pooler = await poolerAt(client, connected);
  if (pooler === 'shares')
    faults.push(
      new DatabaseRefused(
        'pooler',
        'a pooler between escrowd and the database gives one backend to several connections in turn (PgBouncer calls this the transaction or the statement mode): what became of a commit whose answer is lost could not be found out',
        'connect to the server itself, or set pool_mode = session for this database in the pooler',
      ),
    );
  if (facts.readOnly === 'on')
    faults.push(
      new DatabaseRefused(
        'read-only',
        `every transaction of ${facts.role} is read-only (default_transaction_read_only, set by: ${facts.readOnlySource})`,
        'reset it where it is set: ALTER ROLE, ALTER DATABASE, ALTER SYSTEM or the options in the URL',
      ),
    );
  found(() => {
    requireDurable(settings);
  });
  const warnings: ServerWarning[] = [];
  if (pooler === 'there')
    warnings.push({
      what: 'a pooler stands between escrowd and the database',
      do: 'see that it is in session mode (pool_mode = session), also when it is set up anew',
    });
  const schema = await schemaState(ask).catch((error: unknown) => {
    faults.push(faultIn(error));
    return undefined;
  });
  if (schema !== undefined)
    found(() => {
      requireNoNewer(schema);
    });
  if (schema !== undefined && !use.isMigrated)
    found(() => {
      requireNonePending(schema);
    });
  if (use.as === 'daemon') {
    if (schema?.isMade === true && !use.isMigrated) faults.push(...(await missingRights(ask, facts.role)));
    if (facts.isSuperuser)
      warnings.push({
        what: `the role ${facts.role} is a superuser of the database: it could rewrite the log`,
        do: 'give the daemon a role that may connect and nothing else',
      });
  } else if (!facts.mayCreate && (schema?.pending.length ?? 0) > 0) {
    faults.push(
      new DatabaseRefused(
        'rights',
        `the role ${facts.role} may not make tables in the schema public of this database`,
        `make it the owner of the database: ALTER DATABASE ... OWNER TO ${facts.role}`,
      ),
    );
  }
  return { faults, warnings, schema, database: facts.database };
}

const FACTS = `
  select current_setting('transaction_read_only') as "readOnly",
         coalesce((select source from pg_settings where name = 'default_transaction_read_only'), '') as "readOnlySource",
         pg_is_in_recovery() as "isStandby",
         (select rolsuper from pg_roles where rolname = current_user) as "isSuperuser",
         current_user as role,
         concat_ws(' ', current_database(), pg_postmaster_start_time()) as database,
         has_schema_privilege('public', 'create') as "mayCreate"`;

/** What the daemon's role may not do and must. */
async function missingRights(
  ask: <Row>(sql: string, values: readonly unknown[]) => Promise<readonly Row[]>,
  role: string,
): Promise<readonly Error[]> {
  const wanted = eachRight();
  const missing = await ask<{ table: string }>(
    `select distinct wanted.table from unnest($1::text[], $2::text[], $3::text[]) as wanted("table", verb, on_column)
     where to_regclass(wanted.table) is not null and not case
       when wanted.on_column is null then has_table_privilege(to_regclass(wanted.table), wanted.verb)
       else has_column_privilege(to_regclass(wanted.table), wanted.on_column, wanted.verb) end
     order by 1`,
    [
      wanted.map(({ table }) => table),
      wanted.map(({ verb }) => verb),
      wanted.map(({ column }) => column ?? null),
    ],
  );
  if (missing.length === 0) return [];
  return [
    new DatabaseRefused(
      'rights',
      `the role ${role} may not do what it must on ${missing.map(({ table }) => table).join(', ')}`,
      'start once with DATABASE_OWNER_URL set to the role that owns the schema: the daemon then grants it',
    ),
  ];
}

/**
 * Whether something stands in between that is not the server: `shares` when it gives one backend to several connections, or several
 * to one. A pooler makes up the number of the backend that the protocol tells a client; the backend itself says another.
 */
async function poolerAt(
  first: Client,
  connected: () => Promise<Client>,
): Promise<'none' | 'there' | 'shares'> {
  const backendOf = async (client: Client): Promise<number> => {
    const { rows } = await client.query<{ pid: number }>('select pg_backend_pid() as pid');
    return rows[0]?.pid ?? 0;
  };
  const told = (first as unknown as { readonly processID?: number | null }).processID;
  if (told === (await backendOf(first))) return 'none';
  const clients = [first];
  while (clients.length < CONNECTIONS) clients.push(await connected());
  const backends = new Map<number, Client>();
  const known = new Map<Client, number>();
  for (let round = 0; round < ROUNDS; round += 1) {
    for (const client of clients) {
      const pid = await backendOf(client);
      const isOthers = (backends.get(pid) ?? client) !== client;
      if (isOthers || (known.get(client) ?? pid) !== pid) return 'shares';
      backends.set(pid, client);
      known.set(client, pid);
    }
  }
  return 'there';
}
