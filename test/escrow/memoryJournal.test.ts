import { journalCases } from './journalCases.js';
import { MemoryJournal } from './memoryJournal.js';

describe('the journal in memory, which tests of the core stand on', () => {
  journalCases(() => {
    const journal = new MemoryJournal();
    const seeOnce = journal.seeOnce.bind(journal);
    const findCreation = journal.findCreation.bind(journal);
    const store = {
      ...journal.rows,
      seeOnce: (request: { kid: string; jti: string }) => Promise.resolve(seeOnce(request)),
      findCreation: (...given: Parameters<typeof findCreation>) => Promise.resolve(findCreation(...given)),
    };
    return Promise.resolve({ journal, store });
  });
});
