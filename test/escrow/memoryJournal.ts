import type { Entry } from '../../src/log/entry/entry.js';
import { decodeEntry } from '../../src/log/entry/entry.js';
import { EscrowError } from '../../src/escrow/records/errors.js';
import type { ActId } from '../../src/escrow/records/ids.js';
import type { Creation } from '../../src/escrow/records/creation.ts';
import type { Claim, Journal, JournalWrite, OpenAct } from '../../src/escrow/ports/journal.js';
import { NotHeld } from '../../src/escrow/ports/journal.js';
import type { FollowedLog } from '../../src/escrow/logged/logFacts.js';
import { LogState } from '../../src/escrow/logged/logState.js';

/** An Idempotency-Key, and the act it stands for. */
type Named = Extract<Claim, { claim: 'idempotency-key-free' }> & { readonly act: string };

/** A journal in memory that keeps the promises of the port, for tests of the ledger's own steps. */
export class MemoryJournal implements Journal {
  readonly entries: Entry[] = [];
  readonly #state = new LogState();
  /** What its entries say. */
  readonly followed: FollowedLog = {
    facts: this.#state,
    through: () => Promise.resolve(),
    caughtUp: () => Promise.resolve(),
  };
  readonly #open = new Map<string, OpenAct & { readonly holds: string | undefined }>();
  readonly #seen = new Set<string>();
  readonly #keys = new Map<string, Named>();
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
      const named: Named[] = [];
      for (const claim of write.claims) {
        if (claim.claim === 'request-unused') {
          const id = `${claim.kid} ${claim.jti}`;
          if (this.#seen.has(id)) throw new NotHeld('request-unused');
          seen.push(id);
        }
        if (claim.claim === 'policy-in-force' && claim.version !== (this.#state.policy?.version ?? 0))
          throw new NotHeld(claim.claim);
        if (claim.claim === 'alone-on-recovery') {
          if ([...this.#open.values()].some((act) => act.holds === claim.recovery))
            throw new NotHeld(claim.claim);
          holds = claim.recovery;
        }
        if (claim.claim === 'idempotency-key-free') {
          if (this.findCreation(claim, claim.at) !== undefined) throw new NotHeld(claim.claim);
          named.push({ ...claim, act: write.id });
        }
      }
      if (write.role === 'closes' && !this.#open.delete(write.id)) throw new NotHeld('act-open');
      if (write.role === 'opens') {
        this.#open.set(write.id, { id: write.id, entry: write.entry, about: write.about, by: 'self', holds });
      }
      for (const id of seen) this.#seen.add(id);
      for (const each of named) this.#keys.set(`${each.principal} ${each.key}`, each);
      this.follow(write.entry);
      return { index: this.entries.push(decodeEntry(write.entry)) - 1 };
    });
  }

  /** Has an act as open, whatever its entries say: as somebody with the database can. */
  reopen(id: ActId): void {
    this.#open.set(id, { id, entry: Buffer.alloc(0), about: {}, by: 'gone', holds: undefined });
  }

  /** What was appended is there: nothing is signed here, and `prove` says what a log that signs would find. */
  prove: (index: number) => Promise<void> = () => Promise.resolve();

  proven(index: number): Promise<void> {
    return this.prove(index);
  }

  /** Follows an entry that is not among those recorded here. */
  follow(entry: Uint8Array): void {
    this.#state.take(this.entries.length, entry);
  }

  /** Notes a request that only reads, as the store does: a request is used once, whatever by. */
  seeOnce({ kid, jti }: { readonly kid: string; readonly jti: string }): boolean {
    const isNew = !this.#seen.has(`${kid} ${jti}`);
    this.#seen.add(`${kid} ${jti}`);
    return isNew;
  }

  /** What a key stands for, as the store has it. */
  findCreation(
    { principal, key }: { readonly principal: string; readonly key: string },
    at: Date,
  ): Creation | undefined {
    const named = this.#keys.get(`${principal} ${key}`);
    if (named === undefined || named.expiresAt <= at) return undefined;
    const { act, fingerprint } = named;
    const index = this.entries.findIndex(({ id, phase }) => id === act && phase !== 'attempted');
    const outcome = this.entries[index];
    if (outcome === undefined) return { status: 'open', fingerprint };
    return outcome.phase === 'done'
      ? { status: 'done', fingerprint, index, about: outcome.subject }
      : undefined;
  }

  openActs(): Promise<readonly OpenAct[]> {
    return Promise.resolve([...this.#open.values()]);
  }
}
