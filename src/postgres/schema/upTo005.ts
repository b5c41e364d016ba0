import type { Migration } from './migration.js';

/** The log, the records, their guards, and what witnesses have said. */
export const migrationsUpTo005: readonly Migration[] = [
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
];
