import { EscrowError } from './errors.js';
import type { KeyId, PrincipalId } from './ids.js';
import type { KeySpec, KeyUse } from './keySpecs.js';
import type { Brakes, OperateTerms, Purpose, ReleaseTerms, RequestTerms } from './policy.js';
import type { Sealed } from './sealing/sealed.js';

/** What one depositary holds of one key for one purpose. */
export interface Share {
  readonly depositary: PrincipalId;
  /** SHA-256 (hex) of the DER SubjectPublicKeyInfo that the share was encrypted to, as read from the token. */
  readonly recipient: string;
  /** The recovery information: R, to the depositary's public key. */
  readonly share: Sealed<'depositary'>;
  /** The link: L, to the server's key regarding this depositary, and that under R. */
  readonly link: Sealed<'share-key'>;
  /** Which of the server's keys regarding this depositary; undefined in deposits from before they had versions. */
  readonly serverFor: ServerForVersion;
}

/** One set of depositaries that suffices, and the key sealed in one layer for each of them. */
export interface SealedQuorum {
  /** Sorted; the first is the outermost layer. */
  readonly members: readonly PrincipalId[];
  readonly sealed: Sealed<'layer-key'>;
}

/** The deposit of one key for one purpose. Mechanisms by their standard names, never by number. */
export interface PurposeDeposit {
  readonly purpose: Purpose;
  readonly kek: string;
  readonly mechanisms: { readonly wrap: 'RFC5649'; readonly oaep: string; readonly seal: 'A256GCM' };
  readonly shares: readonly Share[];
  readonly quorums: readonly SealedQuorum[];
}

/** The owner's own copy, made at birth when asked for: X to the owner's delivery key, then the key under X. */
export interface OwnersCopy {
  readonly transferKey: Sealed<'owner'>;
  readonly key: Sealed<'transfer-key'>;
}

/**
 * How the layers of a deposit are tied to what they are of, by their associated data (see `layerContext`). Version 1: to key, purpose and place.
 * Version 2, of deposits made since: to the generation of the deposit, the token and the terms as well.
 */
export type Binding =
  | { readonly version: 1 }
  | {
      readonly version: 2;
      /** Counts the deposits of one key, from 1. */
      readonly generation: number;
      /** SHA-256 (hex) of the DER SubjectPublicKeyInfo of the token's identity key. */
      readonly token: string;
    };

/** A deposited key: the public half, who can bring it back, and within what terms. Never the key. */
export interface Deposit {
  readonly key: KeyId;
  readonly owner: PrincipalId;
  readonly label: string;
  readonly spec: KeySpec;
  readonly use: KeyUse;
  /** DER SubjectPublicKeyInfo; undefined for symmetric keys. */
  readonly publicKey: Uint8Array | undefined;
  /** Given of a secret, which has no public half: says which it is (see `records/keySpecs.ts`). */
  readonly checkValue?: Uint8Array;
  /** True of a key that was imported: who else has it, nobody knows. Not given of one that was born in the token. */
  readonly bornOutside?: true;
  readonly createdAt: Date;
  /** What the layers of its ciphertexts are tied to. */
  readonly binding: Binding;
  /** The rule that chose the depositaries, and the policy it stood in. */
  readonly rule: { readonly name: string; readonly policyVersion: number; readonly policyHash: string };
  readonly requesters: readonly ('depositary' | 'admin' | 'app')[];
  /** The terms of the rule as it stood when the key was made: they hold as long as the key does. */
  readonly requests: RequestTerms;
  readonly operate: OperateTerms | undefined;
  readonly release: ReleaseTerms | undefined;
  readonly purposes: readonly PurposeDeposit[];
  readonly ownersCopy: OwnersCopy | undefined;
  /** SHA-256 (hex) over all of it (see `depositDigest`); also in the log. */
  readonly digest: string;
}

/** Which deposit of its key this is, from 1: what was deposited before generations were counted is the first. */
export function generationOf({ binding }: Pick<Deposit, 'binding'>): number {
  return binding.version === 1 ? 1 : binding.generation;
}

/** The deposit of a key for one purpose; EscrowError `purpose-not-allowed` when there is none. */
export function getPurposeDeposit(deposit: Deposit, purpose: Purpose): PurposeDeposit {
  const found = deposit.purposes.find((candidate) => candidate.purpose === purpose);
  if (found === undefined) throw new EscrowError('purpose-not-allowed');
  return found;
}

/** What stands between a complete quorum and the key; none where there is no such purpose. */
export function brakesOf(deposit: Pick<Deposit, Purpose>, purpose: Purpose): Brakes {
  return deposit[purpose] ?? { delayMs: 0, ownerMayVeto: false };
}

/** Whether this person has a share of the key for this purpose. */
export function isDepositaryOf(deposit: PurposeDeposit, person: PrincipalId): boolean {
  return deposit.shares.some((share) => share.depositary === person);
}

/** Which of the server's pairs regarding a depositary; undefined for the first ones, which had no versions. */
export type ServerForVersion = number | undefined;
