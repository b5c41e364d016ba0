import { type QueryResultRow } from 'pg';
import type { Connection } from '../connection.js';
import { DatabaseAway, LogDamaged, safeInteger } from '../faults.js';
import { backendQuery, type Backend } from './commitFate.js';
import type { Send } from './lockedRows.js';
import { Servers } from '../servers.js';
import { durabilityQuery, requireDurable, type DurabilitySettings } from '../schema/durability.js';

/** The one connection that appends. Statements are sent as they come and answered in their order. */
export interface Appender {
  readonly send: Send;
  /** What the server knows this connection by. */
  readonly backend: Backend;
  /** Whether the connection has ended. */
  isLost(): boolean;
  /** Cuts the connection: whatever was sent and not answered is rejected at once. */
  cut(): void;
  /** Ends it in good order, when it is idle. */
  close(): Promise<void>;
}

/**
 * What appending looks for, it looks up by a key. Tables that are small, and full of rows that are gone, as those of open acts
 * and of grants in use, are not to be read through instead, however short they look to the planner when it first sees them.
 */
const planning = `
  set enable_seqscan = off; set enable_bitmapscan = off; set enable_hashjoin = off; set enable_mergejoin = off; set jit = off;`;
/** Each statement sees what was committed before it, and locks the newest of that, whatever the server's default is. */
const isolation = `set default_transaction_isolation = 'read committed'`;
const headQuery = `
  select size, current_setting('transaction_read_only') = 'on' as "isReadOnly" from log_head where id = 1`;

/**
 * Connects. Throws DatabaseAway when the server is a standby or read-only, UnsafeDatabase when the server may lose what it acknowledges, and LogDamaged when its log is shorter
 * than `atLeast`: entries that were acknowledged are gone.
 */
export async function connectAppender(
  servers: Connection | Servers,
  timeouts: { readonly connectMs: number; readonly appendMs: number },
  atLeast: number,
): Promise<Appender> {
  const client = await Servers.of(servers).connect('escrowd journal', timeouts.connectMs, {
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
  let backend: Backend | undefined;
  try {
    await client.query(planning + isolation);
    const [settings] = (await client.query<DurabilitySettings>(durabilityQuery)).rows;
    if (settings !== undefined) requireDurable(settings);
    const [head] = (await client.query<{ size: string; isReadOnly: boolean }>(headQuery)).rows;
    if (head?.isReadOnly === true) throw new DatabaseAway('the server cannot be written to now');
    if (head === undefined || safeInteger(head.size) < atLeast) {
      throw new LogDamaged(
        `the log in the database is shorter than the ${atLeast} entries that were acknowledged`,
      );
    }
    [backend] = (await client.query<Backend>(backendQuery)).rows;
    if (backend === undefined) throw new Error('the server does not know its own backend');
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
    backend,
    isLost: () => lost,
    cut,
    close: async () => {
      if (!lost) await client.end();
    },
  };
}
