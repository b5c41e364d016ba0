import type { Entry } from '../../src/log/entry/entry.js';
import { decodeEntry } from '../../src/log/entry/entry.js';
import type { Creation } from '../../src/escrow/records/creation.ts';
import { depositedQuorums } from '../../src/escrow/records/depositedQuorums.js';
import type { Deposit } from '../../src/escrow/records/deposit.js';
import { EscrowError } from '../../src/escrow/records/errors.js';
import type { Grant } from '../../src/escrow/records/grant.js';
import type { ActId } from '../../src/escrow/records/ids.js';
import type { Recovery } from '../../src/escrow/records/recovery.js';
import type { Change, Claim, Journal, JournalWrite, OpenAct } from '../../src/escrow/ports/journal.js';
import type { Store } from '../../src/escrow/ports/store.ts';
import type { FollowedLog } from '../../src/escrow/logged/logFacts.js';
import { LogState } from '../../src/escrow/logged/logState.js';
import { heldRecovery } from '../../src/postgres/journal/claims.js';
import { judge } from '../../src/postgres/journal/judgedBatch.js';
import {
  noLockedRows,
  idempotencyKey,
  requestKey,
  type LockedRows,
} from '../../src/postgres/journal/lockedRows.js';

/** An Idempotency-Key, and the act it stands for. */
type Named = Extract<Claim, { claim: 'idempotency-key-free' }> & { readonly act: ActId };

/** What the store says of the rows that a journal writes. */
type Rows = Pick<
  Store,
  | 'policyVersion'
  | 'deposits'
  | 'findDeposit'
  | 'findDeposits'
  | 'findRecovery'
  | 'openRecoveries'
  | 'findGrant'
  | 'findGrants'
>;

/**
 * A journal in memory, and the rows that it writes. Its judge is that of the journal in PostgreSQL, which it shows the rows as
 * they are, whoever wrote them. What holds there and here is shown by one suite (journalCases.ts).
 */
export class MemoryJournal implements Journal {
  readonly entries: Entry[] = [];
  readonly deposits = new Map<string, Deposit>();
  readonly recoveries = new Map<string, Recovery>();
  readonly grants = new Map<string, Grant>();
  policyVersion = 0;
  readonly state = new LogState();
  /** What its entries say. */
  readonly followed: FollowedLog = {
    facts: this.state,
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
  /** Changes what the judge sees: as somebody with the database can, in columns that nobody else reads. */
  forge: (locked: LockedRows, write: JournalWrite) => void = () => undefined;

  append(write: JournalWrite): Promise<{ readonly index: number }> {
    return Promise.resolve().then(() => {
      if (this.broken === write.role) throw new EscrowError('log-unavailable');
      this.before(write);
      const entry = decodeEntry(write.entry);
      const locked = this.#lockedFor(write);
      this.forge(locked, write);
      const fault = judge([write], locked).refused.get(write);
      if (fault !== undefined) throw fault;
      write.changes.forEach((change) => {
        this.#make(change);
      });
      this.#take(write, locked);
      this.follow(write.entry);
      return { index: this.entries.push(entry) - 1 };
    });
  }

  /** The rows that the judge is to see: all there are. */
  #lockedFor({ claims }: JournalWrite): LockedRows {
    const locked = noLockedRows();
    locked.policyVersion = this.policyVersion;
    for (const { key, digest } of this.deposits.values()) locked.deposits.set(key, digest);
    for (const { id, revision } of this.recoveries.values()) locked.recoveries.set(id, revision);
    for (const { id, scope, certificate, ...row } of this.grants.values()) {
      const { maxUses, rate } = scope;
      locked.grants.set(id, { ...row, maxUses, rate, isCertified: certificate !== undefined });
    }
    for (const { id, holds } of this.#open.values()) {
      locked.openActs.set(id, holds);
      if (holds !== undefined) locked.heldRecoveries.add(holds);
    }
    for (const claim of claims) {
      if (claim.claim === 'request-unused' && !this.#seen.has(requestKey(claim.kid, claim.jti)))
        locked.unusedRequests.add(requestKey(claim.kid, claim.jti));
      if (claim.claim === 'idempotency-key-free' && this.findCreation(claim, claim.at) === undefined)
        locked.freeKeys.add(idempotencyKey(claim.principal, claim.key));
    }
    return locked;
  }

  #make(change: Change): void {
    switch (change.change) {
      case 'policy-applied':
        this.policyVersion = change.version;
        return;
      case 'deposit-created':
      case 'deposit-replaced':
        this.deposits.set(change.deposit.key, change.deposit);
        return;
      case 'recovery-saved':
        this.recoveries.set(change.recovery.id, change.recovery);
        return;
      case 'grant-created':
        this.grants.set(change.grant.id, change.grant);
        return;
      case 'grant-certified':
        this.#alter(change.grant, { certificate: change.certificate });
        return;
      case 'grant-ended':
        this.#alter(change.grant, { status: change.status });
        return;
      default:
        throw new Error(`nobody knows how to make ${JSON.stringify(change satisfies never)}`);
    }
  }

  /** Keeps what the claims of a write have taken from the locked rows, and what its role makes of its act. */
  #take(write: JournalWrite, { grants }: LockedRows): void {
    const { id, role, entry, about, claims } = write;
    for (const claim of claims) {
      if (claim.claim === 'request-unused') this.#seen.add(requestKey(claim.kid, claim.jti));
      if (claim.claim === 'idempotency-key-free')
        this.#keys.set(idempotencyKey(claim.principal, claim.key), { ...claim, act: id });
      const counted = claim.claim === 'uses-counted' ? grants.get(claim.grant) : undefined;
      if (claim.claim === 'uses-counted' && counted !== undefined)
        this.#alter(claim.grant, { used: counted.used, recent: counted.recent });
    }
    if (role === 'closes') this.#open.delete(id);
    if (role === 'opens') this.#open.set(id, { id, entry, about, by: 'self', holds: heldRecovery(write) });
  }

  #alter(id: string, parts: Partial<Grant>): void {
    const grant = this.grants.get(id);
    if (grant !== undefined) this.grants.set(id, { ...grant, ...parts });
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
    this.state.take(this.entries.length, entry);
  }

  /** Notes a request that only reads, as the store does: a request is used once, whatever by. */
  seeOnce({ kid, jti }: { readonly kid: string; readonly jti: string }): boolean {
    const isNew = !this.#seen.has(requestKey(kid, jti));
    this.#seen.add(requestKey(kid, jti));
    return isNew;
  }

  /** What a key stands for, as the store has it. */
  findCreation(
    { principal, key }: { readonly principal: string; readonly key: string },
    at: Date,
  ): Creation | undefined {
    const named = this.#keys.get(idempotencyKey(principal, key));
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
    return Promise.resolve(
      [...this.#open.values()].map(({ id, entry, about, by }) => ({ id, entry, about, by })),
    );
  }

  /** The rows, as the store finds them. */
  readonly rows: Rows = {
    policyVersion: () => Promise.resolve(this.policyVersion),
    deposits: ({ owner, depositary, quorums }, { after, limit }) => {
      const isTheirs = (one: Deposit): boolean =>
        (owner === undefined && depositary === undefined) ||
        one.owner === owner ||
        one.purposes.some(({ shares }) => shares.some((share) => share.depositary === depositary));
      const setsOf = (sets: readonly { purpose: string; quorums: unknown }[]): string =>
        JSON.stringify(sets.map((set) => [set.purpose, set.quorums]));
      const isAlike = ({ purposes }: Deposit): boolean =>
        quorums === undefined ||
        quorums.some((sets) => setsOf(sets) === setsOf(purposes.map(depositedQuorums)));
      const found = [...this.deposits.values()].filter((one) => isTheirs(one) && isAlike(one)).reverse();
      const from = after === undefined ? 0 : Number(after);
      const next = from + limit < found.length ? String(from + limit) : undefined;
      return Promise.resolve({ items: found.slice(from, from + limit), next });
    },
    findDeposit: (key) => Promise.resolve(this.deposits.get(key)),
    findDeposits: (keys) => Promise.resolve(keys.flatMap((key) => this.deposits.get(key) ?? [])),
    findRecovery: (id) => Promise.resolve(this.recoveries.get(id)),
    openRecoveries: () =>
      Promise.resolve(
        [...this.recoveries.values()].filter(({ state }) => ['pending', 'approved'].includes(state.status)),
      ),
    findGrant: (id) => Promise.resolve(this.grants.get(id)),
    findGrants: (ids) => Promise.resolve(ids.flatMap((id) => this.grants.get(id) ?? [])),
  };
}
