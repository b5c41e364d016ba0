import { PostgresJournal as HonestJournal } from '../../src/postgres/journal/journal.js';

/** How long the log of the control lags behind what it has answered. */
const LAG_MS = 1_000;

/**
 * What escrowd's journal must not be: it answers that an outcome is durable before it has begun to write it. The daemon of
 * the control runs on it, put in the place of the journal, and a crash must then lose what was acknowledged.
 */
export class PostgresJournal extends HonestJournal {
  override append(write: Parameters<HonestJournal['append']>[0]): ReturnType<HonestJournal['append']> {
    // what the records follow from is as durable as ever, or nobody could sign
    if (write.role !== 'closes' || write.changes.length > 0) return super.append(write);
    setTimeout(() => {
      super.append(write).catch(() => undefined);
    }, LAG_MS);
    return Promise.resolve({ index: 0 });
  }
}
