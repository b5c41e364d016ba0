import type { Migration } from './migration.js';

/** What is kept for a recipient is found by the log, not by the rows. */
export const migration022: Migration = {
  name: '022-no-index-of-kept-releases',
  sql: 'drop index recovery_kept',
};
