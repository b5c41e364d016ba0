import type { Migration } from './migration.js';

/**
 * Uses of grants with a rate are counted with the others, and a grant's long columns are not written again at each use of it:
 * they stand beside its row.
 */
export const migration026: Migration = {
  name: '026-rates-in-plain-batches',
  sql: `
    alter table grant_ alter column certificate set storage external;
    alter table grant_ alter column scope set storage main;
    alter table grant_ alter column recent set storage main;
    alter table grant_ set (toast_tuple_target = 256, fillfactor = 50);

    -- What a rate remembers when uses of one of its slices are taken, as takeUses has it (src/escrow/records/rate.ts); null when
    -- they are more than it allows, or of more than one slice. What counted at the first of them counts.
    create function recent_with(rate jsonb, recent jsonb, uses int, since timestamptz, until timestamptz)
    returns jsonb language sql stable as $$
      with times as (
        select (rate ->> 'perMs')::numeric as per, greatest(1, floor((rate ->> 'perMs')::numeric / 64)) as slice,
          extract(epoch from since) * 1000 as since, extract(epoch from until) * 1000 as until
      ), counting as (
        select (one ->> 'slice')::numeric as slice, (one ->> 'uses')::bigint as uses
          from times, jsonb_array_elements(recent) as one
          where ((one ->> 'slice')::numeric + 1) * times.slice + times.per > times.since
        union all
        select floor(since / slice), uses from times
      ), together as (
        select slice, sum(uses) as uses from counting group by slice
      )
      select case when floor(times.since / times.slice) = floor(times.until / times.slice)
          and (select sum(together.uses) from together) <= (rate ->> 'uses')::bigint
        then (select jsonb_agg(jsonb_build_object('slice', together.slice, 'uses', together.uses) order by together.slice)
                from together) end
      from times
    $$;

    -- As before, with the rates.
    create or replace function append_plain(
      by_instance text,
      requests uuid[], requests_expire_at timestamptz[],
      granted text[], granted_uses int[], used_from timestamptz[], used_until timestamptz[], policies int[],
      closing text[], opening text[], opening_at int[],
      by_counter bigint, by_follows bigint, by_since bigint, by_signature bytea,
      ids text[], parts text[], entries bytea[],
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
          update grant_ g set used = g.used + u.uses,
              recent = case when g.scope ->> 'rate' is null then g.recent
                else recent_with(g.scope -> 'rate', g.recent, u.uses, u.since, u.until) end
            from unnest(granted, granted_uses, used_from, used_until) as u (id, uses, since, until)
            where g.id = u.id and g.status = 'active' and g.starts_at <= u.since and g.expires_at > u.until
              and g.used + u.uses <= g.max_uses
              and (g.scope ->> 'rate' is null
                or recent_with(g.scope -> 'rate', g.recent, u.uses, u.since, u.until) is not null);
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
        -- Whoever puts a policy in force holds the head until the commit: what is read behind it is the policy that stands before
        -- these entries in the log.
        if exists (select from unnest(policies) as claimed (version)
            where version is distinct from (select p.version from policy_head p where p.id = 1)) then
          raise exception 'the policy of a caller of this batch is not in force' using errcode = 'ESC01';
        end if;
        insert into log_entry (seq, id, part, entry, about_key, about_owner, about_recovery, about_grant)
          select base + u.place - 1, u.id, u.part, u.entry, u.key, u.owner, u.recovery, u.grant_id
          from unnest(ids, parts, entries, about_keys, about_owners, about_recoveries, about_grants)
            with ordinality as u (id, part, entry, key, owner, recovery, grant_id, place);
        insert into log_batch (first, count, writer, counter, follows, since, signature)
          values (base, cardinality(ids), by_instance, by_counter, by_follows, by_since, by_signature);
        if cardinality(opening) > 0 then
          insert into open_act (id, instance, seq)
            select u.id, by_instance, base + u.place from unnest(opening, opening_at) as u (id, place);
        end if;
        return base;
      end
    $$;
  `,
};
