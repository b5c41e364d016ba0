import type { Batch } from '../../log/statements/writer.js';
import { safeInteger } from '../faults.js';
import type { Send } from './lockedRows.js';

/** A server process, by what tells it from any other that ever had its number. */
export interface Backend {
  readonly pid: number;
  readonly startedAt: string;
}

/** Asks the server for the backend of the connection that asks. */
export const backendQuery = `
  select pid, backend_start::text as "startedAt" from pg_stat_activity where pid = pg_backend_pid()`;

/** What became of a transaction that appended: the index of its first entry, if it was committed. */
export type Fate =
  { readonly fate: 'running' | 'rolled back' } | { readonly fate: 'committed'; readonly base: number };

/**
 * Finds out, on another connection, what became of a transaction whose commit was sent to `backend` on a connection that was
 * lost since. One that may still run is told to stop. `batch` is what it appended.
 */
export async function fateOf(
  send: Send,
  backend: Backend,
  batch: Pick<Batch, 'writer' | 'counter'>,
): Promise<Fate> {
  // One that waits for a synchronous standby has committed here; stopping it would only hide that it is not safe yet.
  const running = await send({
    name: 'stop-backend',
    text: `select case when wait_event is distinct from 'SyncRep' then pg_terminate_backend(pid) end
           from pg_stat_activity where pid = $1 and backend_start = $2::timestamptz`,
    values: [backend.pid, backend.startedAt],
  });
  if (running.length > 0) return { fate: 'running' };
  // Its transactions have ended, or the server that ran them has: what is not there now never comes.
  const [row] = await send<{ first: string }>({
    name: 'find-batch',
    text: 'select first from log_batch where writer = $1 and counter = $2',
    values: [batch.writer, batch.counter],
  });
  return row === undefined ? { fate: 'rolled back' } : { fate: 'committed', base: safeInteger(row.first) };
}
