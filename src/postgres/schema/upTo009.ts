import type { Migration } from './migration.js';

/** What records, callers, policies and notices came to need. */
export const migrationsUpTo009: readonly Migration[] = [
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
