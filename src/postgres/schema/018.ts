import type { Migration } from './migration.js';

/**
 * A witness may cosign a checkpoint again, later: a log that does not grow stays fresh. `cosigned_at` is what the cosignature says,
 * in seconds since 1970; of those that were there it is not known, and they count as old.
 */
export const migration018: Migration = {
  name: '018-cosigned-again',
  sql: `
    alter table log_cosignature add column cosigned_at bigint not null default 0 check (cosigned_at >= 0);
    alter table log_cosignature drop constraint log_cosignature_pkey;
    alter table log_cosignature add primary key (name, key_id, size, cosigned_at);
  `,
};
