import type { Migration } from './migration.js';

/** Requests for several keys. */
export const migration011: Migration = {
  name: '011-several-keys',
  // A request is for a list of keys; what was recorded before has a list of one. Requests that were open then are attested
  // in a form that clients no longer take for one, and end by their own expiry. Entries about them name their keys in the
  // entry, and are found among those of their owner.
  sql: `
    alter table recovery add column keys text[];
    update recovery set keys = array[key];
    alter table recovery alter column keys set not null;
    drop index recovery_key;
    alter table recovery drop column key;
    create index recovery_keys on recovery using gin (keys);
    update recovery set document = document - 'key' || jsonb_build_object(
      'keys', jsonb_build_array(document -> 'key'),
      'approvals', (
        select coalesce(jsonb_agg(each - 'reply' || jsonb_build_object('replies', jsonb_build_array(
          jsonb_build_object('key', document -> 'key', 'reply', each -> 'reply'))) order by place), '[]')
        from jsonb_array_elements(document -> 'approvals') with ordinality as approval (each, place)));
    update recovery set document = jsonb_set(document, '{state}',
        (document -> 'state') - 'grant' || jsonb_build_object('grants', jsonb_build_array(
          jsonb_build_object('key', document #> '{keys,0}', 'grant', document #> '{state,grant}'))))
      where status = 'active';
    update recovery set document = jsonb_set(document, '{state}',
        (document -> 'state') - 'answer' || jsonb_build_object('answers', jsonb_build_array(
          jsonb_build_object('key', document #> '{keys,0}', 'transferKey', document #> '{state,answer,transferKey}',
                             'wrappedKey', document #> '{state,answer,key}'))))
      where status = 'released';
    create index log_subject_owner_alone on log_subject (about_owner, block) where about_key is null;
  `,
};
