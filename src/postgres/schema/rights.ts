/** What the daemon's role may do; nothing else. */
export const rights: Readonly<Record<string, string>> = {
  log_entry: 'select, insert',
  log_batch: 'select, insert',
  log_writer: 'select, insert',
  log_unsigned: 'select',
  log_state: 'select, insert, update',
  log_tile: 'select, insert',
  log_checkpoint: 'select, insert',
  log_cosignature: 'select, insert',
  log_subject: 'select, insert',
  log_subject_head: 'select, update',
  log_reading: 'select',
  log_head: 'select, update',
  log_frontier: 'select, update',
  policy: 'select, insert',
  policy_head: 'select, update',
  deposit: 'select, insert, update (depositaries, document)',
  recovery: 'select, insert, update',
  grant_: 'select, insert, update',
  instance: 'select, insert, update, delete',
  open_act: 'select, insert, update, delete',
  request_seen: 'select, insert, delete',
  notification_sink: 'select, insert, update',
  notification_dropped: 'select, insert, update',
  idempotency_key: 'select, insert, update, delete',
  idempotency_outcome: 'select, insert, delete',
  knex_migrations: 'select',
};

/** One right on a table: on all of its columns, or on these. */
export interface Right {
  readonly table: string;
  readonly verb: string;
  readonly column: string | undefined;
}

/** The same, one by one. */
export function eachRight(): readonly Right[] {
  return Object.entries(rights).flatMap(([table, allowed]) =>
    [...allowed.matchAll(/([a-z]+)(?: \(([^)]*)\))?/g)].flatMap(([, verb = '', columns]): readonly Right[] =>
      (columns?.split(', ') ?? [undefined]).map((column) => ({ table, verb, column })),
    ),
  );
}
