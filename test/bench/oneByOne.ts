import { randomUUID } from 'node:crypto';
import type { Journal, JournalWrite } from '../../src/escrow/ports/journal.js';
import { connectAppender, type Appender } from '../../src/postgres/journal/appender.js';
import { beginBatch, writeBatch, type BatchOutcome } from '../../src/postgres/journal/judgedBatch.js';
import type { Connection } from '../../src/postgres/connection.js';
import type { Certifier, CheckpointSigner } from '../../src/escrow/ports/signers.ts';
import { recordPlain } from '../../src/postgres/journal/plainBatch.js';
import type { Writer } from '../../src/postgres/log/writer.js';
import { writerOn } from '../postgres/fixtures.js';

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
  by: { readonly signer: CheckpointSigner; readonly certifier: Certifier },
): Promise<OneByOne> {
  const timeouts = { connectMs: 10_000, appendMs: 60_000 };
  const name = randomUUID();
  // one after the other: a writer is certified over a connection of its own, which the server has no room for beside all others
  const all: Slot[] = [];
  for (let at = 0; at < connections; at++) {
    const writer = await writerOn(connection, by.signer, `${name}-${at}`, by.certifier);
    all.push({ appender: await connectAppender(connection, timeouts, 0), writer });
  }
  const idle = [...all];
  const waiting: ((slot: Slot) => void)[] = [];
  return {
    append: async (write) => {
      const slot = idle.pop() ?? (await new Promise<Slot>((resolve) => waiting.push(resolve)));
      try {
        const outcome = await recorders[form](slot, write);
        if (outcome.outcome === 'recorded') return { index: outcome.stands?.base ?? NaN };
        throw new Error('the connection was lost', { cause: outcome.cause });
      } finally {
        const next = waiting.shift();
        if (next === undefined) idle.push(slot);
        else next(slot);
      }
    },
    close: async () => {
      await Promise.all(all.map(({ appender }) => appender.close()));
    },
  };
}

/** A connection with a writer of its own: of one writer's batches none may overtake another. */
interface Slot {
  readonly appender: Appender;
  readonly writer: Writer;
}

const recorders: Readonly<Record<Form, (slot: Slot, write: JournalWrite) => Promise<BatchOutcome>>> = {
  judged: async ({ appender: { send }, writer }, write) => {
    const begun = beginBatch(send, [write]);
    return (await writeBatch(send, writer, begun, [write])).outcome;
  },
  'one statement': ({ appender: { send }, writer }, write) => recordPlain(send, writer, [write]),
};
