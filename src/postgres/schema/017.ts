import type { Migration } from './migration.js';

/** Grants have a certificate. Those that were there have none until the daemon gives them one. */
export const migration017: Migration = {
  name: '017-grant-certificates',
  sql: `
    alter table grant_ add column certificate text;
  `,
};
