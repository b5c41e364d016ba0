import type { Migration } from './migration.js';

/** The state that the entries make is kept now and then, so that a start need not read them all. */
export const migration021: Migration = {
  name: '021-state-snapshot',
  // A cache: what stands here is believed by its signature and by the tree that it is of, or not at all.
  sql: `
    create table log_state (
      id int primary key check (id = 1),
      statement text not null,
      state bytea not null
    );
  `,
};
