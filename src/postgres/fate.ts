import type { JournalWrite } from '../escrow/journal.js';
import { safeInteger } from './faults.js';
import type { Send } from './ground.js';

/** A server process, by what tells it from any other that ever had its number. */
export interface Backend {
  readonly pid: number;
  readonly startedAt: string;
}

/** Asks the server for the backend of the connection that asks. */
export const backendQuery = `
  select pid, backend_start::text as "startedAt" from pg_stat_activity where pid = pg_backend_pid()`;

/**
 * Finds out, on another connection, what became of the writes of a transaction whose commit was sent to `backend` on a
 * connection that was lost since: their indexes (none when it was rolled back), or that it may still run, in which case the
 * backend is told to stop. `atLeast`: the log was that long before.
 */
export async function fateOf(
  send: Send,
  backend: Backend,
  kept: readonly JournalWrite[],
  atLeast: number,
): Promise<ReadonlyMap<JournalWrite, number> | 'running'> {
  // One that waits for a synchronous standby has committed here; stopping it would only hide that it is not safe yet.
  const running = await send({
    name: 'stop-backend',
    text: `select case when wait_event is distinct from 'SyncRep' then pg_terminate_backend(pid) end
           from pg_stat_activity where pid = $1 and backend_start = $2::timestamptz`,
    values: [backend.pid, backend.startedAt],
  });
  if (running.length > 0) return 'running';
  // Its transactions have ended, or the server that ran them has: what is not there now never comes.
  const rows = await send<{ id: string; role: string; seq: string }>({
    name: 'find-entries',
    text: 'select id, role, seq from log_entry where seq >= $1 and id = any($2::text[])',
    values: [atLeast, kept.map(({ id }) => id)],
  });
  const places = new Map(rows.map(({ id, role, seq }) => [`${role} ${id}`, safeInteger(seq)]));
  const found = new Map<JournalWrite, number>();
  for (const write of kept) {
    const index = places.get(`${write.role} ${write.id}`);
    if (index !== undefined) found.set(write, index);
  }
  return found;
}
