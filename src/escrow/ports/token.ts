import type { Anchor, Anchoring } from '../../log/anchor.js';
import type { Tile } from '../../log/tree/tiles.js';
import type { Deposit, ServerForVersion } from '../records/deposit.js';
import type { Grant } from '../records/grant.js';
import type { Creation } from '../records/creation.js';
import type { GrantId, KeyId, PrincipalId, RecoveryId } from '../records/ids.js';
import type { Subject } from '../records/subject.js';
import type { KeySpec, KeyUse } from '../records/keySpecs.js';
import type { DecryptMechanism, Mechanism, SignMechanism } from '../records/mechanisms.js';
import type { NoticeKind } from '../records/notice.js';
import type { Policy, Purpose } from '../records/policy.js';
import type { SigningKey } from '../records/principals.js';
import type { Recovery } from '../records/recovery.js';
import type { Held, Opener, Sealed } from '../records/sealed.js';
import type { DepositedQuorums } from '../records/depositedQuorums.js';

/* ---------------------------------------------------------------- the token */

/** A depositary as the token knows it: enrolled by the security officer, trusted by the token. */
export interface EnrolledDepositary {
  readonly id: PrincipalId;
  /** DER SubjectPublicKeyInfo of the depositary's own key, read from the trusted token object. */
  readonly publicKey: Uint8Array;
  /** SHA-256 (hex) of it. */
  readonly fingerprint: string;
}

/** A deposited key under a key-encryption key. */
export interface Wrapped {
  readonly sealed: Sealed<'kek'>;
  /** Which key-encryption key, e.g. `kek:operate:sign:v1`. */
  readonly kek: string;
}

/** What a ciphertext may turn out to be: opened, or refused by the token because it is not what it claims. */
export type Opened<T> = { readonly opened: T } | { readonly refused: true };

/** Input of a decryption, by mechanism. Ciphertext for A256GCM carries its 16-byte tag at the end. */
export interface DecryptInput {
  readonly ciphertext: Uint8Array;
  /** A256GCM only: 96-bit IV. */
  readonly iv?: Uint8Array;
  /** A256GCM only. */
  readonly aad?: Uint8Array;
}

/**
 * What the token can be asked to do. Keys go in and out as ciphertext or as references to objects in flight,
 * which die with the loan (see {@link Token.lend}). Every verb throws EscrowError `token-unavailable` when the
 * token does not work, and `token-object-missing` when it works and does not hold the standing object that is named (a grant,
 * a transport key, the key for a depositary); a refused ciphertext is an answer, not an error.
 */
export interface TokenVerbs {
  /** Makes a user key in flight: sensitive, extractable for the length of this loan only. */
  generateUserKey(
    spec: KeySpec,
  ): Promise<{ readonly key: Held<'user-key'>; readonly publicKey: Uint8Array | undefined }>;
  /** KWP (RFC 5649) of the user key under the newest key-encryption key of this purpose for such a key. */
  wrapUnderKek(
    key: Held<'user-key'>,
    purpose: Purpose,
    of: { readonly spec: KeySpec; readonly use: KeyUse },
  ): Promise<Wrapped>;
  /** Makes R: AES-256 in flight, may seal, and may be wrapped under trusted keys only. */
  generateShareKey(): Promise<Held<'share-key'>>;
  /** Makes L: AES-256 in flight, may seal, and may be wrapped under trusted keys only. */
  generateLayerKey(): Promise<Held<'layer-key'>>;
  /** RSA-OAEP under the trusted object of this depositary. Throws `depositary-not-enrolled` when there is none. */
  wrapToDepositary(
    key: Held<'share-key' | 'transfer-key'>,
    depositary: PrincipalId,
  ): Promise<Sealed<'depositary'>>;
  /** RSA-OAEP under the trusted public key of the newest pair `server-for:<depositary>:vN`. */
  wrapToServerFor(
    key: Held<'layer-key'>,
    depositary: PrincipalId,
  ): Promise<{ readonly sealed: Sealed<'server-for'>; readonly version: ServerForVersion }>;
  /** AES-256-GCM, fresh 96-bit IV in front, tag behind. What is sealed is itself ciphertext. */
  sealUnder<By extends 'share-key' | 'layer-key'>(
    key: Held<By>,
    inner: Sealed<Opener>,
    aad: Uint8Array,
  ): Promise<Sealed<By>>;
  /** Makes X: AES-256 in flight, wraps user keys, and may be wrapped itself. */
  generateTransferKey(to: 'depositary' | 'owner'): Promise<Held<'transfer-key'>>;
  /** RSA-OAEP of X under an owner's registered delivery key (DER SubjectPublicKeyInfo). */
  wrapToOwner(key: Held<'transfer-key'>, deliveryKey: Uint8Array): Promise<Sealed<'owner'>>;
  /** KWP of the user key under X. */
  wrapUnderTransfer(transfer: Held<'transfer-key'>, key: Held<'user-key'>): Promise<Sealed<'transfer-key'>>;

  /** Makes the one-time RSA-3072 pair of a recovery as token objects. Returns its DER SubjectPublicKeyInfo. */
  createTransport(recovery: RecoveryId): Promise<{ readonly publicKey: Uint8Array }>;
  /** Destroys that pair; does nothing when it is gone. */
  destroyTransport(recovery: RecoveryId): Promise<void>;
  /** Unwraps a depositary's reply with the transport key into R, non-exportable. */
  unwrapReply(recovery: RecoveryId, reply: Sealed<'transport'>): Promise<Opened<Held<'share-key'>>>;
  /** Opens one AES-256-GCM layer; the caller says what ciphertext lies inside. */
  openUnder<By extends 'share-key' | 'layer-key', Inner extends Opener>(
    key: Held<By>,
    layer: Sealed<By>,
    aad: Uint8Array,
    inner: Inner,
  ): Promise<Opened<Sealed<Inner>>>;
  /** Unwraps L with this version of the server's private key regarding this depositary, non-exportable. */
  unwrapLayer(
    pair: { readonly depositary: PrincipalId; readonly version: ServerForVersion },
    layer: Sealed<'server-for'>,
  ): Promise<Opened<Held<'layer-key'>>>;
  /** Unwraps a user key under the operate KEK into the token object `grant:<id>`, never exportable. */
  raiseGrant(order: {
    readonly grant: GrantId;
    readonly wrapped: Wrapped;
    readonly spec: KeySpec;
    readonly use: KeyUse;
    readonly mechanisms: readonly Mechanism[];
  }): Promise<Opened<void>>;
  /** Destroys `grant:<id>`; does nothing when it is gone. */
  destroyGrant(grant: GrantId): Promise<void>;
  /** Unwraps a user key under the release KEK, in flight, extractable and sensitive. */
  unwrapForRelease(order: {
    readonly wrapped: Wrapped;
    readonly spec: KeySpec;
  }): Promise<Opened<Held<'user-key'>>>;

  /**
   * Signs with `grant:<id>`. `data` is the digest for mechanisms that have one, the message for EdDSA. Returns the
   * JOSE form of the signature (RFC 7518 section 3.4: r || s for ECDSA).
   */
  sign(grant: GrantId, spec: KeySpec, mechanism: SignMechanism, data: Uint8Array): Promise<Uint8Array>;
  /** Decrypts with `grant:<id>`. */
  decrypt(
    grant: GrantId,
    spec: KeySpec,
    mechanism: DecryptMechanism,
    input: DecryptInput,
  ): Promise<Opened<Uint8Array>>;
  /** ES256 (r || s) by the identity key over these bytes. */
  attest(signingInput: Uint8Array): Promise<Uint8Array>;
}

/** What a token can do, as its profile says and its self-test has shown. */
export interface TokenAbilities {
  readonly profile: string;
  readonly keySpecs: readonly KeySpec[];
  readonly mechanisms: readonly Mechanism[];
  /** The standard's name of the OAEP in use: `RSA-OAEP` (SHA-1) or `RSA-OAEP-256`. */
  readonly oaep: string;
}

/** One-time keys and grants, by what they are called in the token. */
export interface StandingObjects {
  readonly transports: readonly RecoveryId[];
  readonly grants: readonly GrantId[];
}

/** What a grant was raised to be. */
export interface RaisedGrant {
  readonly spec: KeySpec;
  /** The use of the key is one of these. */
  readonly uses: readonly KeyUse[];
  readonly mechanisms: readonly Mechanism[];
}

/** One-time keys and grants that may stand in the token, by the records. */
export interface RecordedObjects {
  readonly transports: ReadonlySet<RecoveryId>;
  /** How each was raised; undefined while that is under way. */
  readonly grants: ReadonlyMap<GrantId, RaisedGrant | undefined>;
}

/** An object of the token that should not be there. */
export interface UnaccountedObject {
  readonly alarm: 'token-object-foreign' | 'token-object-twice';
  /** Its class and its name, in which every character is seen. */
  readonly what: string;
}

/** The token, as the core sees it. */
export interface Token {
  readonly abilities: TokenAbilities;
  /**
   * Throws EscrowError `token-unavailable` when the token is known not to work, without asking it. Asked before anything is
   * claimed, so that an outage costs nobody a use. When it does not throw, the token may still turn out not to work.
   */
  requireInService(): void;
  /** The depositaries enrolled now. */
  enrolled(): Promise<readonly EnrolledDepositary[]>;
  /** Lends verbs for the length of `use`; whatever is in flight is destroyed when it settles. */
  lend<V extends keyof TokenVerbs, T>(
    verbs: readonly V[],
    use: (lent: Pick<TokenVerbs, V>) => Promise<T>,
  ): Promise<T>;
  /** The one-time keys and grants that stand in the token now. */
  standing(): Promise<StandingObjects>;
  /**
   * The private keys, secret keys and data objects of the token that nothing accounts for, and names that more than one has.
   * What the ceremony has made accounts for itself, by name and by how it is made; of the rest `records` is asked,
   * once all are listed. One that was made or has ended meanwhile may be among them: look again before anybody is told. Looked
   * through in slices, so that neither this process nor the token's other users wait long. The objects of other sessions that
   * are not kept in the token cannot be seen. Throws EscrowError `token-unavailable`, and what `records` throws.
   */
  unaccounted(
    records: (named: StandingObjects) => Promise<RecordedObjects>,
  ): Promise<readonly UnaccountedObject[]>;
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
  /** How many deposits there are of each set of quorums. */
  depositedQuorums(): Promise<readonly DepositedQuorums[]>;
  findDeposit(key: KeyId): Promise<Deposit | undefined>;
  /** Those of these keys that there are, in no order. */
  findDeposits(keys: readonly KeyId[]): Promise<readonly Deposit[]>;
  /** Deposits of this owner together with those where this depositary has a share; all when neither is named. */
  deposits(
    of: { readonly owner?: PrincipalId; readonly depositary?: PrincipalId },
    page: PageRequest,
  ): Promise<Page<Deposit>>;
  findRecovery(id: RecoveryId): Promise<Recovery | undefined>;
  /** Recoveries in which this person has a part (requester, owner, app of the scope, or depositary); all when not named. */
  recoveries(of: { readonly participant?: PrincipalId }, page: PageRequest): Promise<Page<Recovery>>;
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

/* ------------------------------------------------------------------ the log */

/** An entry as it stands in the log. */
export interface StoredEntry {
  readonly index: number;
  readonly entry: Uint8Array;
}

/** A signed checkpoint (a C2SP signed note), with the cosignatures of witnesses that are known of it. */
export interface SignedCheckpoint {
  readonly size: number;
  readonly note: string;
}

/** How many witnesses must have cosigned a checkpoint, and which of them count; all, when it is not said. */
export interface Witnessed {
  readonly count: number;
  /** Key ids, eight hexadecimal digits each. */
  readonly by: readonly string[] | undefined;
}

/** A cosignature (C2SP tlog-cosignature) of the checkpoint of this size, which has been checked. */
export interface KeptCosignature {
  readonly size: number;
  /** The name of the witness's key. */
  readonly name: string;
  /** Eight hexadecimal digits. */
  readonly keyId: string;
  /** The line of the note, with its newline. */
  readonly line: string;
  /** When the witness says that it cosigned: seconds since 1970. */
  readonly at: number;
}

/** What those who show the log to witnesses need of it. Each throws EscrowError `store-unavailable`. */
export interface WitnessedLog {
  /** The newest checkpoint as the log has signed it, without cosignatures; undefined while there is none. */
  newest(): Promise<SignedCheckpoint | undefined>;
  /**
   * The size of the largest checkpoint that this witness has cosigned, as far as is kept, and when it did last (seconds since
   * 1970); 0 for none.
   */
  cosignedBy(name: string, keyId: string): Promise<{ readonly size: number; readonly at: number }>;
  /** RFC 6962 section 2.1.2; both sizes at most that of the newest checkpoint. */
  consistency(oldSize: number, newSize: number): Promise<readonly Uint8Array[]>;
  /** Durable when it resolves. One that is kept already stays as it is. */
  keep(cosignature: KeptCosignature): Promise<void>;
}

/** The log, for reading. */
export interface LogReader {
  /** The newest signed checkpoint; undefined while the log is empty. */
  checkpoint(): Promise<SignedCheckpoint | undefined>;
  /**
   * The newest checkpoint that so many witnesses have cosigned, looked for among the 10,000 newest cosignatures; undefined
   * when there is none.
   */
  witnessed(by: Witnessed): Promise<SignedCheckpoint | undefined>;
  /** Entries `from` on, in order, at most `limit`. */
  entries(from: number, limit: number): Promise<readonly StoredEntry[]>;
  /**
   * Entries that have all of this as their subject, newest first; with `below`, only those of a lower index. About a `key`
   * are those that have it as their key or among their keys; a page of these may have fewer than `limit`, and a next one.
   */
  entriesAbout(about: Omit<Subject, 'keys'>, page: PageRequest, below?: number): Promise<Page<StoredEntry>>;
  /** The `done` entry of act `recovery.request` about this recovery. */
  filing(recovery: RecoveryId): Promise<StoredEntry | undefined>;
  /** The `done` entry of act `key.generate` about this key: its birth. */
  birth(key: KeyId): Promise<StoredEntry | undefined>;
  /**
   * The RFC 6962 inclusion proof of an entry in the newest checkpoint's tree; waits until that covers the entry and this
   * daemon has compared it with the leaves that it knows, its own among them. EscrowError `log-unavailable` when it takes too
   * long, or the tree turns out to be another one.
   */
  inclusion(
    index: number,
  ): Promise<{ readonly checkpoint: string; readonly size: number; readonly proof: readonly Uint8Array[] }>;
  /**
   * Inclusion proofs of several entries in one tree: in that of the checkpoint over `size`, EscrowError
   * `request-malformed` when none was signed or it does not have them all; without `size` in that of a checkpoint which
   * covers them all, as {@link inclusion} does. `checkpoint` is undefined only while the log is empty.
   */
  inclusions(
    indexes: readonly number[],
    size: number | undefined,
  ): Promise<{
    readonly checkpoint: string | undefined;
    readonly proofs: readonly (readonly Uint8Array[])[];
  }>;
  /** The root of the tree over the first `size` entries; undefined when no checkpoint that was signed reaches so far. */
  rootAt(size: number): Promise<Uint8Array | undefined>;
  /** The RFC 6962 consistency proof between two sizes, both at most the newest checkpoint's. */
  consistency(oldSize: number, newSize: number): Promise<readonly Uint8Array[]>;
  /**
   * The first `width` hashes of a C2SP tile, one after the other; undefined when the newest checkpoint's tree does not
   * have so many there.
   */
  tile(tile: Tile): Promise<Uint8Array | undefined>;
}

/* ------------------------------------------------------------------- others */

/** Signs checkpoints with the token's `log` key. */
export interface CheckpointSigner {
  /** The log's origin: the name in its checkpoints and of its key. */
  readonly origin: string;
  /** The C2SP verifier key: `origin+keyid+base64`. */
  readonly vkey: string;
  /** The signature over the note's text, as C2SP signed-note wants it (Ed25519: 64 bytes; ECDSA: ASN.1 DER). */
  sign(text: Uint8Array): Promise<Uint8Array>;
}

/** The token's `identity` key, as what certifies the processes that append to the log. */
export interface Certifier {
  /** DER SubjectPublicKeyInfo (EC P-256). */
  readonly publicKey: Uint8Array;
  /** ES256 (r || s) over these bytes. Throws EscrowError `token-unavailable`. */
  attest(signingInput: Uint8Array): Promise<Uint8Array>;
}

/** Where the log is remembered outside the database: in the token. */
export interface Anchorage {
  /** What is remembered. Throws EscrowError `token-unavailable`, also when there is none: it is made by people. */
  readAnchor(): Promise<Anchor>;
  /** Remembers a longer log, unless one as long is remembered. Throws EscrowError `token-unavailable`. */
  writeAnchor(anchor: Anchoring): Promise<void>;
}

/** What the token remembers of the log: by it a daemon knows that nobody uses the token on another copy of the database. */
export interface LogMemory {
  /**
   * Resolves when the token remembers the log with the entry at this index: a daemon on a copy of the database that was made
   * before it does not take the token for its own from then on. Throws EscrowError `token-unavailable`, `log-unavailable`.
   */
  anchored(index: number): Promise<void>;
  /**
   * Checks that what the token remembers is of this log, before anything is destroyed in it. Throws when it is not, and this
   * daemon stops; EscrowError `token-unavailable`, `store-unavailable`.
   */
  requireOwnToken(): Promise<void>;
}

/** Time, given by the composition root. */
export interface Clock {
  now(): Date;
  pause(ms: number): Promise<void>;
}

/** A statement whose signature has been checked. */
export interface VerifiedStatement {
  readonly jws: string;
  readonly payload: Readonly<Record<string, unknown>>;
}

/** Checks signed statements (JWS, RFC 7515). */
export interface StatementVerifier {
  /** The payload, when `jws` has this `typ` and verifies under one of the keys with that key's one algorithm. */
  verify(jws: string, typ: string, keys: readonly SigningKey[]): Promise<VerifiedStatement | undefined>;
  /** The thumbprint of the key that a statement of this `typ` says it is signed by; nothing is verified. */
  signerOf(jws: string, typ: string): string | undefined;
}

/** Checks what the token's identity key has signed (JWS, RFC 7515; ES256, and no header but `alg` and `typ`). */
export interface IdentityVerifier {
  /** The payload, when `jws` has this `typ` and the identity key signed it. */
  verify(jws: string, typ: string): Promise<Readonly<Record<string, unknown>> | undefined>;
}

/** Turns a policy document (JSON) into the policy it means. Throws EscrowError `policy-invalid`. */
export type PolicyParser = (document: string, version: number) => Policy;
