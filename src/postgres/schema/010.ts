import type { Migration } from './migration.js';

/**
 * An append touches as few indexes as it can: entries are found by their place alone, what they are about is indexed behind
 * them, and a batch of usual writes is one call.
 */
export const migration010: Migration = {
  name: '010-lean-log',
  sql: `
    -- Where the attempt of an open act stands, and whether an Idempotency-Key stands for the act.
    alter table open_act add column seq bigint, add column keyed boolean not null default false;
    update open_act a set seq = e.seq from log_entry e where e.id = a.id and e.role = 'opens';
    update open_act a set keyed = true where exists (select from idempotency_key k where k.act = a.id);
    alter table open_act alter column seq set not null;
    alter table open_act drop constraint open_act_holds_recovery_key;
    create unique index open_act_holds_recovery on open_act (holds_recovery) where holds_recovery is not null;

    -- Where the outcome of an act stands that an Idempotency-Key stands for.
    create table idempotency_outcome (
      act text primary key,
      seq bigint not null
    );
    insert into idempotency_outcome (act, seq)
      select distinct k.act, e.seq from idempotency_key k join log_entry e on e.id = k.act and e.role = 'closes';

    alter table log_entry drop constraint log_entry_id_role_key;
    drop index log_entry_about_key, log_entry_about_owner, log_entry_about_recovery, log_entry_about_grant;

    -- What entries are about: for each block of 512 places, those of its entries that are about the same. It is made of the
    -- entries, behind them; the head says how far that has come. An entry is the first one of one row at most.
    create table log_subject (
      first bigint primary key,
      block bigint not null check (block = first / 512),
      about_key text,
      about_owner text,
      about_recovery text,
      about_grant text,
      seqs bigint[] not null
    );
    create index log_subject_key on log_subject (about_key, block) where about_key is not null;
    create index log_subject_owner on log_subject (about_owner, block) where about_owner is not null;
    create index log_subject_recovery on log_subject (about_recovery, block) where about_recovery is not null;
    create index log_subject_grant on log_subject (about_grant, block) where about_grant is not null;
    create trigger append_only before update or delete or truncate on log_subject
      for each statement execute function refuse_change();
    alter table log_subject enable always trigger append_only;
    create table log_subject_head (
      id int primary key check (id = 1),
      size bigint not null check (size >= 0)
    );
    insert into log_subject_head (id, size) values (1, 0);

    -- A request by the first 16 bytes of SHA-256 of its two names. Expired ones are found by looking through all of them.
    alter table request_seen rename to request_seen_by_name;
    create table request_seen (
      request uuid primary key,
      expires_at timestamptz not null
    );
    insert into request_seen (request, expires_at)
      select encode(substring(sha256(convert_to(kid || '.' || jti, 'UTF8')) for 16), 'hex')::uuid, expires_at
      from request_seen_by_name on conflict do nothing;
    drop table request_seen_by_name;

    -- Records a batch whose writes leave nothing to judge but what is counted here, and returns the first one's place; or
    -- fails when something does not hold, with nothing recorded. It locks in the order that all appending does:
    -- requests, grants, open acts, each by their names, and then the head.
    create function append_plain(
      by_instance text,
      requests uuid[], requests_expire_at timestamptz[],
      granted text[], granted_uses int[], used_from timestamptz[], used_until timestamptz[],
      closing text[], opening text[], opening_at int[],
      ids text[], roles text[], entries bytea[],
      about_keys text[], about_owners text[], about_recoveries text[], about_grants text[]
    ) returns bigint language plpgsql as $$
      declare
        base bigint;
        did int;
      begin
        if cardinality(requests) > 0 then
          insert into request_seen (request, expires_at)
            select u.request, u.expires_at from unnest(requests, requests_expire_at) as u (request, expires_at);
        end if;
        if cardinality(granted) > 0 then
          update grant_ g set used = g.used + u.uses
            from unnest(granted, granted_uses, used_from, used_until) as u (id, uses, since, until)
            where g.id = u.id and g.status = 'active' and g.starts_at <= u.since and g.expires_at > u.until
              and g.used + u.uses <= g.max_uses and g.scope ->> 'rate' is null;
          get diagnostics did = row_count;
          if did <> cardinality(granted) then
            raise exception 'uses of this batch are to be judged' using errcode = 'ESC01';
          end if;
        end if;
        if cardinality(closing) > 0 then
          delete from open_act a where a.id = any(closing) and not a.keyed;
          get diagnostics did = row_count;
          if did <> cardinality(closing) then
            raise exception 'an act of this batch is not open, or an Idempotency-Key stands for it' using errcode = 'ESC01';
          end if;
        end if;
        update log_head h set size = h.size + cardinality(ids) where h.id = 1
          returning h.size - cardinality(ids) into strict base;
        insert into log_entry (seq, id, role, entry, about_key, about_owner, about_recovery, about_grant)
          select base + u.place - 1, u.id, u.role, u.entry, u.key, u.owner, u.recovery, u.grant_id
          from unnest(ids, roles, entries, about_keys, about_owners, about_recoveries, about_grants)
            with ordinality as u (id, role, entry, key, owner, recovery, grant_id, place);
        if cardinality(opening) > 0 then
          insert into open_act (id, instance, seq)
            select u.id, by_instance, base + u.place from unnest(opening, opening_at) as u (id, place);
        end if;
        return base;
      end
    $$;
  `,
};
