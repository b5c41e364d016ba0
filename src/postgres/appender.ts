import { Client, DatabaseError, type QueryResultRow } from 'pg';
import type { JournalWrite } from '../escrow/journal.js';
import { clientConfig, type Connection } from './connection.js';
import { LogDamaged, safeInteger } from './faults.js';
import type { Send } from './ground.js';
import { durabilityQuery, requireDurable, type DurabilitySettings } from './safety.js';
import type { TransactionName } from './batch.js';

/** The one connection that appends. Statements are sent as they come and answered in their order. */
export interface Appender {
  readonly send: Send;
  /** Whether the connection has ended. */
  isLost(): boolean;
  /** Cuts the connection: whatever was sent and not answered is rejected at once. */
  cut(): void;
  /** Ends it in good order, when it is idle. */
  close(): Promise<void>;
}

/**
 * Connects. Throws UnsafeDatabase when the server may lose what it acknowledges, and LogDamaged when its log is shorter
 * than `atLeast`: entries that were acknowledged are gone.
 */
export async function connectAppender(
  connection: Connection,
  timeouts: { readonly connectMs: number; readonly appendMs: number },
  atLeast: number,
): Promise<Appender> {
  const client = new Client({
    ...clientConfig(connection, 'escrowd journal', timeouts.connectMs),
    pipeline: true,
    // Not for statements: only for waiting on others, and for a transaction whose client has fallen silent.
    lock_timeout: timeouts.appendMs,
    idle_in_transaction_session_timeout: timeouts.appendMs,
  });
  let lost = false;
  client.on('error', () => (lost = true));
  client.on('end', () => (lost = true));
  const cut = (): void => {
    lost = true;
    client.connection.stream.destroy();
  };
  const timer = setTimeout(cut, timeouts.connectMs);
  try {
    await client.connect();
    const [settings] = (await client.query<DurabilitySettings>(durabilityQuery)).rows;
    if (settings !== undefined) requireDurable(settings);
    const [head] = (await client.query<{ size: string }>('select size from log_head where id = 1')).rows;
    if (head === undefined || safeInteger(head.size) < atLeast) {
      throw new LogDamaged(
        `the log in the database is shorter than the ${atLeast} entries that were acknowledged`,
      );
    }
  } catch (error) {
    cut();
    throw error;
  } finally {
    clearTimeout(timer);
  }
  const { stream } = client.connection;
  let isCorked = false;
  /** What is sent in one go of the program leaves in one go. */
  const cork = (): void => {
    if (isCorked) return;
    isCorked = true;
    stream.cork();
    process.nextTick(() => {
      isCorked = false;
      stream.uncork();
    });
  };
  return {
    send: async <Row extends QueryResultRow>({ name, text, values }: Parameters<Send>[0]) => {
      cork();
      return (await client.query<Row>({ name, text, values: [...values] })).rows;
    },
    isLost: () => lost,
    cut,
    close: async () => {
      if (!lost) await client.end();
    },
  };
}

/**
 * Finds out, on another connection, what became of a transaction: its entries' indexes (none when it was rolled back), or
 * that it still runs, in which case it is told to stop.
 */
export async function fateOf(
  send: Send,
  { xid, backend }: TransactionName,
  kept: readonly JournalWrite[],
): Promise<ReadonlyMap<JournalWrite, number> | 'running'> {
  if ((await statusOf(send, xid)) === 'in progress') {
    // One that waits for a synchronous standby has committed here; stopping it would only hide that it is not safe yet.
    await send({
      name: 'stop-transaction',
      text: `select pg_terminate_backend(pid) from pg_stat_activity
             where pid = $1 and backend_xid = ($2::xid8)::xid and wait_event is distinct from 'SyncRep'`,
      values: [backend, xid],
    });
    return 'running';
  }
  // The entries are the evidence; the status only says that no more of them will come.
  const rows = await send<{ place: string; seq: string }>({
    name: 'find-entries',
    text: `select u.place, e.seq from unnest($1::text[], $2::text[]) with ordinality as u (id, role, place)
           join log_entry e on e.id = u.id and e.role = u.role`,
    values: [kept.map(({ id }) => id), kept.map(({ role }) => role)],
  });
  const found = new Map<JournalWrite, number>();
  for (const { place, seq } of rows) {
    const write = kept[Number(place) - 1];
    if (write !== undefined) found.set(write, safeInteger(seq));
  }
  return found;
}

/** Null when it is so long ago that the server does not know, undefined when the server has never seen it: it has failed over. */
async function statusOf(send: Send, xid: string): Promise<string | null | undefined> {
  try {
    const [row] = await send<{ status: string | null }>({
      name: 'transaction-status',
      text: 'select pg_xact_status($1::xid8) as status',
      values: [xid],
    });
    return row?.status;
  } catch (error) {
    if (error instanceof DatabaseError && error.code === '22023') return undefined;
    throw error;
  }
}
