import type { Journal, JournalWrite } from '../../src/escrow/journal.js';
import { connectAppender, type Appender } from '../../src/postgres/appender.js';
import { beginBatch, writeBatch, type BatchOutcome } from '../../src/postgres/batch.js';
import type { Connection } from '../../src/postgres/connection.js';
import { recordPlain } from '../../src/postgres/plainBatch.js';

/** What a daemon without group commit would do. */
export interface OneByOne {
  readonly append: Journal['append'];
  close(): Promise<void>;
}

/** How one append is a transaction: what it stands on is locked, read, judged and written; or all of it is one statement. */
export type Form = 'judged' | 'one statement';

/**
 * Appends with one transaction for each: by what the journal itself sends, over the same kind of connection to the same
 * server, each append in a transaction of its own, on so many connections at once.
 */
export async function connectOneByOne(
  connection: Connection,
  connections: number,
  form: Form,
): Promise<OneByOne> {
  const timeouts = { connectMs: 10_000, appendMs: 60_000 };
  const all = await Promise.all(
    Array.from({ length: connections }, () => connectAppender(connection, timeouts, 0)),
  );
  const idle = [...all];
  const waiting: ((appender: Appender) => void)[] = [];
  return {
    append: async (write) => {
      const appender = idle.pop() ?? (await new Promise<Appender>((resolve) => waiting.push(resolve)));
      try {
        const outcome = await recorders[form](appender, write);
        if (outcome.outcome === 'recorded') return { index: outcome.base };
        throw new Error('the connection was lost', { cause: outcome.cause });
      } finally {
        const next = waiting.shift();
        if (next === undefined) idle.push(appender);
        else next(appender);
      }
    },
    close: async () => {
      await Promise.all(all.map((appender) => appender.close()));
    },
  };
}

const recorders: Readonly<Record<Form, (appender: Appender, write: JournalWrite) => Promise<BatchOutcome>>> =
  {
    judged: async ({ send }, write) => {
      const begun = beginBatch(send, [write]);
      return (await writeBatch(send, 'bench', begun, [write])).outcome;
    },
    'one statement': ({ send }, write) => recordPlain(send, 'bench', [write]),
  };
