import { EscrowError } from './errors.js';
import { type Grant, type GrantStatus, grantStatusAt } from './grant.js';
import type { GrantId, JobId, KeyId, PrincipalId, RecoveryId } from './ids.js';
import type { KeySpec, KeyUse } from './keySpecs.js';
import type { Purpose } from './policy.js';
import type { ResealPlan } from './sealing/resealing.js';
import type { Scope } from './scope.js';
import type { Sealed } from './sealing/sealed.js';

/** At most so many keys are asked for at once: every entry about the request names them all, with a quorum of each. */
export const MAX_RECOVERY_KEYS = 64;

/**
 * The keys of a request: 1 to {@link MAX_RECOVERY_KEYS}, each once, in ascending order, so that there is one way to name them.
 *
 * @throws EscrowError `request-malformed`
 */
export function keySet(keys: readonly KeyId[]): readonly KeyId[] {
  if (keys.length === 0 || keys.length > MAX_RECOVERY_KEYS) {
    throw new EscrowError('request-malformed', `A request is for 1 to ${MAX_RECOVERY_KEYS} keys.`);
  }
  if (new Set(keys).size !== keys.length) {
    throw new EscrowError('request-malformed', 'A request names each of its keys once.');
  }
  return [...keys].sort();
}

/** What is asked for: the request that depositaries decide on. */
export type Asked =
  | { readonly purpose: 'operate'; readonly scope: Scope }
  | { readonly purpose: 'release'; readonly recipient: PrincipalId }
  | {
      readonly purpose: 'reseal';
      readonly job: JobId;
      /** That which the plan was made by: nothing is sealed anew under another. */
      readonly policy: { readonly version: number; readonly hash: string };
      readonly plan: ResealPlan;
    };

/** What a request can be for; a reseal opens the deposits of its keys for all of their purposes. */
export const ASKED_PURPOSES = ['operate', 'release', 'reseal'] as const satisfies readonly Asked['purpose'][];
/** One of {@link ASKED_PURPOSES}. */
export type AskedPurpose = Asked['purpose'];

/** What a request's hash covers, by its version; see `requestHash`. */
export const REQUEST_VERSIONS = [3, 4] as const;
/** One of {@link REQUEST_VERSIONS}. */
export type RequestVersion = (typeof REQUEST_VERSIONS)[number];

/** A key of a request with what its approvers are told that it is. */
export interface DescribedKey {
  readonly key: KeyId;
  readonly label: string;
  readonly spec: KeySpec;
  readonly use: KeyUse;
}

/** One depositary's share of one key, re-encrypted to the transport key. */
export interface Reply {
  readonly key: KeyId;
  /** Of a reseal: for which purpose the share is; of other requests that goes without saying. */
  readonly purpose?: Purpose;
  readonly reply: Sealed<'transport'>;
}

/**
 * One depositary's signed yes to the whole request, and their share of each of its keys that they are a depositary of; for a reseal,
 * their share for each purpose of each key.
 */
export interface Approval {
  readonly depositary: PrincipalId;
  readonly statement: string;
  /** In the order of the keys, and of their purposes. */
  readonly replies: readonly Reply[];
  readonly at: Date;
  /** As its signer said: from then on it counts no more. */
  readonly expiresAt: Date;
}

/**
 * One depositary's signed word that they will approve the whole request when the delay is over, where the rule of a key has
 * replies after it. Nothing comes with it that could open anything.
 */
export interface Intent {
  readonly depositary: PrincipalId;
  readonly statement: string;
  /** When it was recorded; the delay is counted from the last of a quorum. */
  readonly at: Date;
  /** As its signer said: from then on it counts no more. */
  readonly expiresAt: Date;
}

/** One depositary's signed no. */
export interface Denial {
  readonly depositary: PrincipalId;
  readonly statement: string;
  readonly reason: string;
  readonly at: Date;
}

/** The grant that came of one key of a request. */
export interface KeyGrant {
  readonly key: KeyId;
  readonly grant: GrantId;
}

/** One released key, in the format of CKM_RSA_AES_KEY_WRAP: an X of its own to the recipient, then the key under X. */
export interface ReleasedKey {
  readonly key: KeyId;
  readonly transferKey: Sealed<'depositary'>;
  readonly wrappedKey: Sealed<'transfer-key'>;
}

/** Where a request stands in the records, with what each state has; where it stands now says {@link statusAt}. */
export type RecoveryState =
  | { readonly status: 'pending' }
  /**
   * A quorum of every key is complete, the delay running until `releasableAt`; they are quorums until the first of their
   * approvals expires.
   */
  | { readonly status: 'approved'; readonly releasableAt: Date; readonly holdsUntil: Date }
  | { readonly status: 'active'; readonly grants: readonly KeyGrant[]; readonly at: Date }
  | {
      readonly status: 'released';
      readonly at: Date;
      /** In the order of the keys; undefined once its recipient has confirmed that they have them, or a day is over. */
      readonly answers: readonly ReleasedKey[] | undefined;
    }
  /** Each of its keys is sealed to other people from then on. */
  | { readonly status: 'resealed'; readonly at: Date }
  | {
      readonly status: 'denied' | 'vetoed' | 'cancelled';
      readonly by: PrincipalId;
      readonly reason: string;
      readonly at: Date;
    }
  | { readonly status: 'expired'; readonly at: Date }
  | { readonly status: 'failed'; readonly reason: string; readonly at: Date };

export type RecoveryStatus = RecoveryState['status'];
/** Where a request stands with what came of it: an active one is what its grant is. */
export type LifeStatus = RecoveryStatus | Exclude<GrantStatus, 'active'>;

/** A recovery request, with everything decided about it so far. */
export interface Recovery {
  readonly id: RecoveryId;
  /** Counts its changes, from 1; each change must find the one before it. */
  readonly revision: number;
  /** All of one owner; as {@link keySet} makes them. What is decided is decided about all of them. */
  readonly keys: readonly KeyId[];
  readonly owner: PrincipalId;
  readonly requester: PrincipalId;
  readonly asked: Asked;
  readonly reason: string;
  readonly filedAt: Date;
  /** Until when it can be approved. What was approved by then can be carried out for as long as the approvals hold. */
  readonly expiresAt: Date;
  /** How long one approval of it counts, at most. */
  readonly approvalsHoldMs: number;
  /** Which version of it `requestHash` is of. */
  readonly version: RequestVersion;
  /** SHA-256 (hex) of the canonical request (see `requestHash`). */
  readonly requestHash: string;
  /** DER SubjectPublicKeyInfo of the one-time key of this request. */
  readonly transportKey: Uint8Array;
  /** Compact JWS by the token's identity key over what is asked. */
  readonly attestation: string;
  /** Of requests that take replies after the delay; empty for all others. */
  readonly intents: readonly Intent[];
  readonly approvals: readonly Approval[];
  readonly denials: readonly Denial[];
  readonly state: RecoveryState;
}

/**
 * Where a request stands at this instant, by the clock and what is recorded, so that nothing depends on somebody having
 * looked: it is pending until `expiresAt`, and approved for as long as the approvals of its quorum hold. When these have
 * expired it is pending again, if there is time, and can be approved anew.
 */
export function statusAt(
  { state, expiresAt }: Pick<Recovery, 'state' | 'expiresAt'>,
  now: Date,
): RecoveryStatus {
  if (state.status !== 'pending' && state.status !== 'approved') return state.status;
  if (state.status === 'approved' && now < state.holdsUntil) return 'approved';
  return now < expiresAt ? 'pending' : 'expired';
}

/** When an open request is over, if nobody decides anything more. */
export function endOf({ state, expiresAt }: Pick<Recovery, 'state' | 'expiresAt'>): Date {
  if (state.status !== 'approved' || state.holdsUntil < expiresAt) return expiresAt;
  return state.holdsUntil;
}

/** The approvals that count at this instant: one of somebody who has denied since does not, should it have lapsed in between. */
export function approvalsAt(
  { approvals, denials }: Pick<Recovery, 'approvals' | 'denials'>,
  now: Date,
): readonly Approval[] {
  return approvals.filter((approval) => stillCounts(approval, denials, now));
}

/** The intents that count at this instant: those of people who have denied since do not. */
export function intentsAt(
  { intents, denials }: Pick<Recovery, 'intents' | 'denials'>,
  now: Date,
): readonly Intent[] {
  return intents.filter((intent) => stillCounts(intent, denials, now));
}

function stillCounts(
  { depositary, expiresAt }: Approval | Intent,
  denials: readonly Denial[],
  now: Date,
): boolean {
  return now < expiresAt && !denials.some((denial) => denial.depositary === depositary);
}

/**
 * As {@link statusAt}, and what became of the grants of an active one: it is active as long as one of them is, and then
 * revoked or expired when one of them is, and exhausted when all of them are.
 */
export function lifeAt(recovery: Recovery, grants: readonly Grant[], now: Date): LifeStatus {
  const status = statusAt(recovery, now);
  if (status !== 'active') return status;
  const found = new Set(grants.map((grant) => grantStatusAt(grant, now)));
  return (['active', 'revoked', 'expired', 'exhausted'] as const).find((each) => found.has(each)) ?? status;
}
