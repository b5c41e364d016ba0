import type { Deposit } from '../records/deposit.js';
import type { Grant, GrantStatus } from '../records/grant.js';
import type { ActId, GrantId, PrincipalId, RecoveryId } from '../records/ids.js';
import type { Recovery } from '../records/recovery.js';
import type { Subject } from '../../log/entry/entry.js';

/** What must hold in the transaction that records an attempt. */
export type Claim =
  /** A signed request is used once: (kid, jti) is new. */
  | { readonly claim: 'request-unused'; readonly kid: string; readonly jti: string; readonly expiresAt: Date }
  /** The recovery is at this revision, and no other open act works on it; held until the outcome is recorded. */
  | {
      readonly claim: 'alone-on-recovery';
      readonly recovery: RecoveryId;
      readonly revision: number;
      /** Of a request that has ended: the log must say so, as it must say of every other that it has not. */
      readonly hasEnded?: true;
    }
  /** The grant is active at `at` and has `uses` left, which are now counted. */
  | { readonly claim: 'uses-counted'; readonly grant: GrantId; readonly uses: number; readonly at: Date }
  /** This policy is still the one in force. */
  | { readonly claim: 'policy-in-force'; readonly version: number }
  /**
   * The caller's key stands for nothing at `at`: it is new, or has expired, or the act that it stood for ended `denied` or
   * `failed`. From now on it stands for this act.
   */
  | {
      readonly claim: 'idempotency-key-free';
      readonly principal: PrincipalId;
      readonly key: string;
      readonly fingerprint: string;
      readonly at: Date;
      readonly expiresAt: Date;
    };

/** What follows from an act, written in the transaction that records its outcome. */
export type Change =
  | {
      readonly change: 'policy-applied';
      readonly version: number;
      readonly hash: string;
      readonly document: string;
      /** The administrators' signatures (compact JWS). */
      readonly signatures: readonly string[];
      readonly at: Date;
    }
  | { readonly change: 'deposit-created'; readonly deposit: Deposit }
  /** In the place of the deposit of the same key that has this digest. */
  | { readonly change: 'deposit-replaced'; readonly deposit: Deposit; readonly replaced: string }
  /** Inserts at revision 1, else replaces exactly the revision before. */
  | { readonly change: 'recovery-saved'; readonly recovery: Recovery }
  | { readonly change: 'grant-created'; readonly grant: Grant }
  /** Of an active grant that has none. */
  | { readonly change: 'grant-certified'; readonly grant: GrantId; readonly certificate: string }
  /** From `active` to an end; refused when it has ended already. */
  | {
      readonly change: 'grant-ended';
      readonly grant: GrantId;
      readonly status: Exclude<GrantStatus, 'active'>;
    };

/** One entry, and what goes with it in the same transaction. */
export interface JournalWrite {
  readonly id: ActId;
  /** `opens` records an attempt, `closes` its outcome, `alone` a refusal that had no attempt. */
  readonly role: 'opens' | 'closes' | 'alone';
  /** The exact canonical bytes of the entry (see `encodeEntry` of src/log). */
  readonly entry: Uint8Array;
  /** What the entry is about, for finding it again. */
  readonly about: Subject;
  readonly claims: readonly Claim[];
  readonly changes: readonly Change[];
}

/** Thrown by {@link Journal.append}: nothing of this write was recorded, because one part did not hold. */
export class NotHeld extends Error {
  override readonly name = 'NotHeld';

  constructor(readonly what: Claim['claim'] | Change['change'] | 'act-open' | 'clocks-agree') {
    super(`does not hold: ${what}`);
  }
}

/** The append-only log together with the records, in one transaction. */
export interface Journal {
  /**
   * Appends the entry with its claims and changes, all or nothing. When it resolves, all is durable, and `index`
   * is the entry's place in the tree. Throws {@link NotHeld} when a claim or change does not hold (`act-open`
   * when a closing write finds its act closed already, `clocks-agree` when an attempt finds the clocks of this daemon and of
   * whoever keeps the journal apart), EscrowError `log-unavailable` when it cannot be written
   * or its fate is unknown. Many may run at once.
   */
  append(write: JournalWrite): Promise<{ readonly index: number }>;
  /**
   * Resolves when a checkpoint by the log's key covers the entry that was appended at this index, as it was appended. Throws
   * EscrowError `log-unavailable` when that takes too long, or when the log turns out not to have it there.
   */
  proven(index: number): Promise<void>;
  /**
   * Acts with an attempt and no outcome: this daemon's, and those of daemons that are gone.
   * @throws EscrowError `clock-differs`: nobody can say then who is gone
   */
  openActs(): Promise<readonly OpenAct[]>;
}

/** An attempt without an outcome yet. */
export interface OpenAct {
  readonly id: ActId;
  /** The exact bytes of the attempt's entry. */
  readonly entry: Uint8Array;
  readonly about: Subject;
  /** Whether the daemon that began it is this one, another that lives, or one that is gone. */
  readonly by: 'self' | 'other' | 'gone';
}

/** The claim to be alone on a recovery as it was read, which has not ended. */
export function aloneOn({
  id,
  revision,
}: Pick<Recovery, 'id' | 'revision'>): Extract<Claim, { readonly claim: 'alone-on-recovery' }> {
  return { claim: 'alone-on-recovery', recovery: id, revision };
}

/** The same of a request that has ended. */
export function aloneOnEnded(recovery: Pick<Recovery, 'id' | 'revision'>): Claim {
  return { ...aloneOn(recovery), hasEnded: true };
}
