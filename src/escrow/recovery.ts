import type { GrantId, KeyId, PrincipalId, RecoveryId } from './ids.js';
import type { KeyUse } from './keySpecs.js';
import type { Mechanism } from './mechanisms.js';
import type { Sealed } from './sealed.js';

/** What an app may do with a recovered key. The approver signs exactly this. */
export interface Scope {
  readonly app: PrincipalId;
  readonly operations: readonly KeyUse[];
  readonly mechanisms: readonly Mechanism[];
  /** Whether the app sends messages (hashed by the daemon) or may send digests as well. */
  readonly input: 'message' | 'digest';
  readonly maxUses: number;
  /** Counted from activation. */
  readonly durationMs: number;
}

/** What is asked for: the request that depositaries decide on. */
export type Asked =
  | { readonly purpose: 'operate'; readonly scope: Scope }
  | { readonly purpose: 'release'; readonly recipient: PrincipalId };

/** One depositary's signed yes, and its share re-encrypted to the transport key. */
export interface Approval {
  readonly depositary: PrincipalId;
  readonly statement: string;
  readonly reply: Sealed<'transport'>;
  readonly at: Date;
}

/** One depositary's signed no. */
export interface Denial {
  readonly depositary: PrincipalId;
  readonly statement: string;
  readonly reason: string;
  readonly at: Date;
}

/** Where a request stands, with what each state has. `expired` is recorded when seen, and holds from `expiresAt` on. */
export type RecoveryState =
  | { readonly status: 'pending' }
  | { readonly status: 'approved'; readonly releasableAt: Date } // quorum complete, delay running or over
  | { readonly status: 'active'; readonly grant: GrantId; readonly at: Date }
  | {
      readonly status: 'released';
      readonly at: Date;
      /** CKM_RSA_AES_KEY_WRAP format: X to the recipient, then the key under X. */
      readonly answer: { readonly transferKey: Sealed<'depositary'>; readonly key: Sealed<'transfer-key'> };
    }
  | {
      readonly status: 'denied' | 'vetoed' | 'cancelled';
      readonly by: PrincipalId;
      readonly reason: string;
      readonly at: Date;
    }
  | { readonly status: 'expired'; readonly at: Date }
  | { readonly status: 'failed'; readonly reason: string; readonly at: Date };

/** The name of a state. */
export type RecoveryStatus = RecoveryState['status'];

/** A recovery request, with everything decided about it so far. */
export interface Recovery {
  readonly id: RecoveryId;
  /** Counts its changes, from 1; each change must find the one before it. */
  readonly revision: number;
  readonly key: KeyId;
  readonly owner: PrincipalId;
  readonly requester: PrincipalId;
  readonly asked: Asked;
  readonly reason: string;
  readonly filedAt: Date;
  readonly expiresAt: Date;
  /** SHA-256 (hex) of the canonical request (see `requestHash`). */
  readonly requestHash: string;
  /** DER SubjectPublicKeyInfo of the one-time key of this request. */
  readonly transportKey: Uint8Array;
  /** Compact JWS by the token's identity key over what is asked. */
  readonly attestation: string;
  readonly approvals: readonly Approval[];
  readonly denials: readonly Denial[];
  readonly state: RecoveryState;
}

/** Where a request stands at this instant: what has not ended by `expiresAt` has expired, recorded or not. */
export function statusAt(recovery: Recovery, now: Date): RecoveryStatus {
  const { status } = recovery.state;
  const isOpen = status === 'pending' || status === 'approved';
  return isOpen && now.getTime() >= recovery.expiresAt.getTime() ? 'expired' : status;
}
