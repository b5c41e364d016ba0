import type { Creation } from '../records/creation.js';
import type { Deposit } from '../records/deposit.js';
import type { DepositedQuorums } from '../records/depositedQuorums.js';
import type { Grant } from '../records/grant.js';
import type { GrantId, JobId, KeyId, PrincipalId, RecoveryId } from '../records/ids.js';
import type { NoticeKind } from '../records/notice.js';
import type { Recovery } from '../records/recovery.js';

/** The records, for reading. Each throws EscrowError `store-unavailable` when the database does not answer. */
export interface Store {
  /** The version in force; 0 before the first was applied. Asked for every call. */
  policyVersion(): Promise<number>;
  /** Policies that were ever in force and are newer than version `after`, oldest first, at most `limit`. */
  policies(after: number, limit: number): Promise<readonly StoredPolicy[]>;
  /** The same as a list: every policy that was ever in force, but oldest first. */
  policyDocuments(page: PageRequest): Promise<Page<StoredPolicy>>;
  /** Every policy that was ever in force, newest first, without its document. */
  policyHistory(page: PageRequest): Promise<Page<AppliedPolicy>>;
  findDeposit(key: KeyId): Promise<Deposit | undefined>;
  /** Those of these keys that there are, in no order. */
  findDeposits(keys: readonly KeyId[]): Promise<readonly Deposit[]>;
  /**
   * Deposits of this owner together with those where this depositary has a share; all when neither is named. Of these only those
   * whose purposes have exactly the quorums of one of `quorums`, where that is given.
   */
  deposits(
    of: {
      readonly owner?: PrincipalId;
      readonly depositary?: PrincipalId;
      readonly quorums?: readonly (readonly Pick<DepositedQuorums, 'purpose' | 'quorums'>[])[];
    },
    page: PageRequest,
  ): Promise<Page<Deposit>>;
  findRecovery(id: RecoveryId): Promise<Recovery | undefined>;
  /** Recoveries in which this person has a part (requester, owner, app of the scope, or depositary); all when not named. Of these only those of one job, where it is given. */
  recoveries(
    of: { readonly participant?: PrincipalId; readonly job?: JobId | undefined },
    page: PageRequest,
  ): Promise<Page<Recovery>>;
  /** Recoveries that have not ended in the records: pending or approved. */
  openRecoveries(): Promise<readonly Recovery[]>;
  findGrant(id: GrantId): Promise<Grant | undefined>;
  /** Those of these grants that there are, in no order. */
  findGrants(ids: readonly GrantId[]): Promise<readonly Grant[]>;
  /** Grants that this person owns the key of, may use, or has a share in; all when not named. */
  grants(of: { readonly participant?: PrincipalId }, page: PageRequest): Promise<Page<Grant>>;
  /** What a caller's Idempotency-Key stands for at this time; undefined when it may be used (see `idempotency-key-free`). */
  findCreation(
    named: { readonly principal: PrincipalId; readonly key: string },
    at: Date,
  ): Promise<Creation | undefined>;
  /** The notices that were given up and not delivered since, newest first; those of one sink, when it is named. */
  givenUp(of: { readonly sink?: string | undefined }, page: PageRequest): Promise<Page<GivenUpNotice>>;
  /** Those with these ids that this sink has given up, in any order. */
  findGivenUp(sink: string, notices: readonly string[]): Promise<readonly GivenUpNotice[]>;
  /** Notes (kid, jti) of a request that only reads; false when it was seen before. */
  seeOnce(request: {
    readonly kid: string;
    readonly jti: string;
    readonly expiresAt: Date;
  }): Promise<boolean>;
}
/* ---------------------------------------------------------------- the store */
/** One page of a list, newest first unless it says otherwise, and where the next one starts. */
export interface Page<T> {
  readonly items: readonly T[];
  readonly next: string | undefined;
}

/** Where a list begins, and how much of it is wanted (1 to 200). */
export interface PageRequest {
  readonly after: string | undefined;
  readonly limit: number;
}

/** That a policy was applied. What is said here is believed for the signatures (compact JWS), not for where it stands. */
export interface AppliedPolicy {
  readonly version: number;
  readonly hash: string;
  readonly signatures: readonly string[];
  /** Undefined for one that was applied before this was kept. */
  readonly appliedAt: Date | undefined;
}

/** A policy as it was applied. Its document may have some MiB. */
export interface StoredPolicy extends AppliedPolicy {
  readonly document: string;
}

/** A notice that a sink did not take, however often it was tried. */
export interface GivenUpNotice {
  readonly notice: string;
  readonly sink: string;
  /** Index of the entry that it is about. */
  readonly entry: number;
  readonly to: PrincipalId;
  readonly kind: NoticeKind;
  /** Why, in a sentence that a stranger may read. */
  readonly fault: string;
  readonly givenUpAt: Date;
}
