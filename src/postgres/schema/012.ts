import type { Migration } from './migration.js';

/** What was given up can be sent again: it is no longer given up when a sink has it after all. */
export const migration012: Migration = {
  name: '012-redelivery',
  sql: `
    alter table notification_dropped add column delivered_at timestamptz;
    create index notification_dropped_given_up on notification_dropped (sink, dropped_at) where delivered_at is null;
  `,
};
