import type { Migration } from './migration.js';

/** What was released and is still kept for its recipient is found without looking through all requests. */
export const migration015: Migration = {
  name: '015-kept-releases',
  sql: `
    create index recovery_kept on recovery (filed_at, id)
      where status = 'released' and jsonb_typeof(document #> '{state,answers}') = 'array';
  `,
};
