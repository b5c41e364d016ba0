import type { Migration } from './migration.js';

/** Deposits are replaced from now on: see the daemon's rights. The requests to seal keys anew are found by their job. */
export const migration027: Migration = {
  name: '027-deposits-are-replaced',
  sql: `
    create index recovery_job on recovery ((document #>> '{asked,job}'), filed_at, id)
      where document #>> '{asked,purpose}' = 'reseal';
  `,
};
