import type { Entry } from '../../src/log/entry.js';
import { decodeEntry } from '../../src/log/entry.js';
import { EscrowError } from '../../src/escrow/errors.js';
import type { Journal, JournalWrite, OpenAct } from '../../src/escrow/journal.js';
import { NotHeld } from '../../src/escrow/journal.js';

/** A journal in memory that keeps the promises of the port, for tests of the ledger's own steps. */
export class MemoryJournal implements Journal {
  readonly entries: Entry[] = [];
  readonly #open = new Map<string, OpenAct & { readonly holds: string | undefined }>();
  readonly #seen = new Set<string>();
  /** Set to make the next appends of this role fail as when the database is away. */
  broken: JournalWrite['role'] | undefined;
  /** Called before each append; may throw. */
  before: (write: JournalWrite) => void = () => undefined;

  append(write: JournalWrite): Promise<{ readonly index: number }> {
    return Promise.resolve().then(() => {
      if (this.broken === write.role) throw new EscrowError('log-unavailable');
      this.before(write);
      let holds: string | undefined;
      const seen: string[] = [];
      for (const claim of write.claims) {
        if (claim.claim === 'request-unused') {
          const id = `${claim.kid} ${claim.jti}`;
          if (this.#seen.has(id)) throw new NotHeld('request-unused');
          seen.push(id);
        }
        if (claim.claim === 'alone-on-recovery') {
          if ([...this.#open.values()].some((act) => act.holds === claim.recovery))
            throw new NotHeld(claim.claim);
          holds = claim.recovery;
        }
      }
      if (write.role === 'closes' && !this.#open.delete(write.id)) throw new NotHeld('act-open');
      if (write.role === 'opens') {
        this.#open.set(write.id, { id: write.id, entry: write.entry, about: write.about, by: 'self', holds });
      }
      for (const id of seen) this.#seen.add(id);
      return { index: this.entries.push(decodeEntry(write.entry)) - 1 };
    });
  }

  openActs(): Promise<readonly OpenAct[]> {
    return Promise.resolve([...this.#open.values()]);
  }
}
