import knex, { type Knex } from 'knex';
import { clientConfig, type Connection } from './connection.js';
import { unavailable } from './faults.js';
import { silent } from './pool.js';

/** The schema that this program needs is not there, and it was not given the owner's connection to make it. */
export class SchemaMissing extends Error {
  override readonly name = 'SchemaMissing';
}

interface Migration {
  readonly name: string;
  readonly sql: string;
}

/** In the order in which they run. One that has been released is never edited: the next one changes what it made. */
const migrations: readonly Migration[] = [
  {
    name: '001-log',
    sql: `
      create table log_head (
        id int primary key check (id = 1),
        size bigint not null check (size >= 0)
      );
      insert into log_head (id, size) values (1, 0);

      create table log_entry (
        seq bigint primary key check (seq >= 0),
        id text not null,
        role text not null check (role in ('opens', 'closes', 'alone')),
        entry bytea not null check (octet_length(entry) <= 65535),
        about_key text,
        about_owner text,
        about_recovery text,
        about_grant text,
        unique (id, role)
      );
      create index log_entry_about_key on log_entry (about_key, seq) where about_key is not null;
      create index log_entry_about_owner on log_entry (about_owner, seq) where about_owner is not null;
      create index log_entry_about_recovery on log_entry (about_recovery, seq) where about_recovery is not null;
      create index log_entry_about_grant on log_entry (about_grant, seq) where about_grant is not null;

      create table log_tile (
        level smallint not null check (level >= 1),
        index bigint not null check (index >= 0),
        hash bytea not null check (octet_length(hash) = 32),
        primary key (level, index)
      );
      create table log_checkpoint (
        size bigint primary key check (size >= 0),
        note text not null
      );
      create table log_frontier (
        id int primary key check (id = 1),
        size bigint not null,
        frontier bytea not null
      );
      insert into log_frontier (id, size, frontier) values (1, 0, '\\x0000000000000000');

      -- For a person with psql: the bytes in log_entry are what counts.
      create view log_reading as
        select seq, j ->> 'time' as time, j ->> 'act' as act, j ->> 'phase' as phase, j ->> 'actor' as actor,
               id, about_key, about_owner, about_recovery, about_grant, j as entry
        from (select *, convert_from(e.entry, 'UTF8')::json as j from log_entry e) as readable;

      create table instance (
        id text primary key,
        lease_until timestamptz not null
      );
      create table open_act (
        id text primary key,
        instance text not null,
        holds_recovery text unique
      );
      create table request_seen (
        kid text not null,
        jti text not null,
        expires_at timestamptz not null,
        primary key (kid, jti)
      );
      create index request_seen_expires_at on request_seen (expires_at);
    `,
  },
  {
    name: '002-records',
    sql: `
      create table policy (
        version int primary key check (version >= 1),
        hash text not null,
        document text not null
      );
      create table policy_head (
        id int primary key check (id = 1),
        version int not null
      );
      insert into policy_head (id, version) values (1, 0);

      create table deposit (
        key text primary key,
        owner text not null,
        depositaries text[] not null,
        created_at timestamptz not null,
        document jsonb not null
      );
      create index deposit_newest on deposit (created_at, key);
      create index deposit_owner on deposit (owner, created_at, key);
      create index deposit_depositaries on deposit using gin (depositaries);

      create table recovery (
        id text primary key,
        revision int not null check (revision >= 1),
        status text not null,
        key text not null,
        participants text[] not null,
        filed_at timestamptz not null,
        document jsonb not null
      );
      create index recovery_newest on recovery (filed_at, id);
      create index recovery_key on recovery (key, filed_at, id);
      create index recovery_participants on recovery using gin (participants);
      create index recovery_open on recovery (filed_at, id) where status in ('pending', 'approved');

      create table grant_ (
        id text primary key,
        recovery text not null,
        key text not null,
        spec text not null,
        owner text not null,
        app text not null,
        scope jsonb not null,
        used int not null,
        max_uses int not null,
        starts_at timestamptz not null,
        expires_at timestamptz not null,
        status text not null check (status in ('active', 'exhausted', 'expired', 'revoked')),
        check (used between 0 and max_uses)
      );
      create index grant_newest on grant_ (starts_at, id);
      create index grant_owner on grant_ (owner, starts_at, id);
      create index grant_app on grant_ (app, starts_at, id);
      create index grant_open on grant_ (starts_at, id) where status = 'active';
    `,
  },
  {
    name: '003-append-only',
    // Per statement, so that TRUNCATE is caught and a change of no rows is refused as well; ALWAYS, so that
    // session_replication_role does not switch it off.
    sql: `
      create function refuse_change() returns trigger language plpgsql as $$
        begin
          raise exception '% is append-only: % refused', tg_table_name, lower(tg_op)
            using errcode = 'insufficient_privilege';
        end
      $$;
      ${['log_entry', 'log_tile', 'log_checkpoint', 'policy']
        .map(
          (table) => `
            create trigger append_only before update or delete or truncate on ${table}
              for each statement execute function refuse_change();
            alter table ${table} enable always trigger append_only;`,
        )
        .join('')}
    `,
  },
  {
    name: '004-policy-signatures',
    // A policy from before has none, and is not followed.
    sql: `alter table policy add column signatures text[] not null default '{}';`,
  },
  {
    name: '005-cosignatures',
    // What witnesses have said of a checkpoint, each as the line of the note that it is.
    sql: `
      create table log_cosignature (
        size bigint not null check (size >= 0),
        name text not null,
        key_id text not null check (key_id ~ '^[0-9a-f]{8}$'),
        line text not null,
        primary key (name, key_id, size)
      );
      create index log_cosignature_newest on log_cosignature (size);
      create trigger append_only before update or delete or truncate on log_cosignature
        for each statement execute function refuse_change();
      alter table log_cosignature enable always trigger append_only;
    `,
  },
  {
    name: '006-scope-and-terms',
    // What was recorded before gets the members that came since, with what held until now. Requests that were open then
    // are attested in a form that clients no longer take for one, and end by their own expiry.
    sql: `
      alter table grant_ add column recent jsonb not null default '[]';
      update grant_ set scope = scope || '{"rate": null, "notBefore": null, "notAfter": null}';
      update deposit set document = document || jsonb_build_object('requests', jsonb_build_object(
        'maxValidForMs', 7776000000,
        'approvalsHoldMs', 604800000 + coalesce((document #>> '{release,delayMs}')::bigint, 0),
        'denialsToEnd', null,
        'distinct', '[]'::jsonb));
      update deposit set document = jsonb_set(document, '{operate}', document -> 'operate' ||
          '{"rate": null, "mechanisms": null, "input": "digest", "delayMs": 0, "ownerMayVeto": false}')
        where jsonb_typeof(document -> 'operate') = 'object';
      update recovery set document = document || jsonb_build_object('approvalsHoldMs', 0, 'approvals', (
        select coalesce(jsonb_agg(each || jsonb_build_object('expiresAt', document -> 'expiresAt')), '[]')
        from jsonb_array_elements(document -> 'approvals') as each));
      update recovery set document = jsonb_set(document, '{asked,scope}',
          document #> '{asked,scope}' || '{"rate": null, "notBefore": null, "notAfter": null}')
        where document #>> '{asked,purpose}' = 'operate';
      update recovery set document = jsonb_set(document, '{state,holdsUntil}', document -> 'expiresAt')
        where status = 'approved';
    `,
  },
  {
    name: '007-idempotency',
    // What a principal's key stands for: an act, whose outcome is in the log.
    sql: `
      create table idempotency_key (
        principal text not null,
        key text not null,
        fingerprint text not null,
        act text not null,
        claimed_at timestamptz not null,
        expires_at timestamptz not null,
        primary key (principal, key)
      );
      create index idempotency_key_expires_at on idempotency_key (expires_at);
    `,
  },
  {
    name: '008-policy-history',
    // The quorums of a deposit, apart from the ciphertexts beside them, so that all of them are soon counted.
    sql: `
      alter table policy add column applied_at timestamptz;
      create function deposit_quorums(document jsonb) returns text language sql immutable as $$
        select coalesce(jsonb_agg(jsonb_build_object('purpose', p -> 'purpose', 'quorums', (
          select jsonb_agg(q -> 'members' order by place)
          from jsonb_array_elements(p -> 'quorums') with ordinality as quorum (q, place)
        )) order by number), '[]')::text
        from jsonb_array_elements(document -> 'purposes') with ordinality as purpose (p, number)
      $$;
      alter table deposit add column quorums text generated always as (deposit_quorums(document)) stored;
    `,
  },
  {
    name: '009-notifications',
    // The log is the outbox. This is how far each sink has come in it, whose turn it is, and what was given up.
    sql: `
      create table notification_sink (
        name text primary key,
        next_entry bigint not null check (next_entry >= 0),
        next_position int not null default 0 check (next_position >= 0),
        leased_by text,
        leased_until timestamptz,
        attempts int not null default 0 check (attempts >= 0),
        not_before timestamptz,
        last_fault text
      );
      create table notification_dropped (
        sink text not null,
        notice text not null,
        entry bigint not null,
        recipient text not null,
        kind text not null,
        fault text not null,
        dropped_at timestamptz not null,
        primary key (sink, notice)
      );
    `,
  },
];

/** What the daemon's role may do; nothing else. */
const grants: Readonly<Record<string, string>> = {
  log_entry: 'select, insert',
  log_tile: 'select, insert',
  log_checkpoint: 'select, insert',
  log_cosignature: 'select, insert',
  log_reading: 'select',
  log_head: 'select, update',
  log_frontier: 'select, update',
  policy: 'select, insert',
  policy_head: 'select, update',
  deposit: 'select, insert',
  recovery: 'select, insert, update',
  grant_: 'select, insert, update',
  instance: 'select, insert, update, delete',
  open_act: 'select, insert, update, delete',
  request_seen: 'select, insert, delete',
  notification_sink: 'select, insert, update',
  notification_dropped: 'select, insert',
  idempotency_key: 'select, insert, update, delete',
  knex_migrations: 'select',
};

/** Daemons that start at the same time migrate one after another; the number is this program's own. */
const migrationLock = 0x65736372;

/**
 * Brings the schema to what this program needs, as its owner, and grants `daemonRole` its rights; all in one
 * transaction. Several may do so at once. Throws EscrowError `store-unavailable` when the database does not answer.
 */
export async function migrate(owner: Connection, daemonRole: string, timeoutMs: number): Promise<void> {
  const database = knex({
    client: 'pg',
    connection: { ...clientConfig(owner, 'escrowd owner', timeoutMs), statement_timeout: timeoutMs },
    pool: { min: 0, max: 1 },
    acquireConnectionTimeout: timeoutMs,
    log: silent,
  });
  try {
    await database.transaction(async (trx) => {
      await trx.raw('select pg_advisory_xact_lock(?)', [migrationLock]);
      await trx.migrate.latest({ migrationSource: source });
      await grantTo(trx, daemonRole);
    });
  } catch (error) {
    throw unavailable(error);
  } finally {
    await database.destroy();
  }
}

/** The migrations that have not been run, by name, as any role that may read the list of them. */
export async function pendingMigrations(
  ask: <Row>(sql: string) => Promise<readonly Row[]>,
): Promise<readonly string[]> {
  const [table] = await ask<{ there: boolean }>(`select to_regclass('knex_migrations') is not null as there`);
  const run =
    table?.there === true ? await ask<{ name: string }>('select name from knex_migrations order by id') : [];
  const names = new Set(run.map(({ name }) => name));
  return migrations.filter(({ name }) => !names.has(name)).map(({ name }) => name);
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
  for (const [table, rights] of Object.entries(grants)) {
    await trx.raw('revoke all on ?? from ??', [table, role]);
    await trx.raw(`grant ${rights} on ?? to ??`, [table, role]);
  }
}
