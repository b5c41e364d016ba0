import type { ServerForVersion } from '../records/deposit.js';
import type { GrantId, ImportId, PrincipalId, RecoveryId } from '../records/ids.js';
import type { GeneratedSpec, ImportableSpec, KeySpec, KeyUse, Operation } from '../records/keySpecs.js';
import type { DecryptMechanism, Mechanism, SignMechanism } from '../records/mechanisms.js';
import type { Purpose } from '../records/policy.js';
import type { Held, Opener, Sealed } from '../records/sealing/sealed.js';

/* ---------------------------------------------------------------- the token */

/** A depositary as the token knows it: enrolled by the security officer, trusted by the token. */
export interface EnrolledDepositary {
  readonly id: PrincipalId;
  /** DER SubjectPublicKeyInfo of the depositary's own key, read from the trusted token object. */
  readonly publicKey: Uint8Array;
  /** SHA-256 (hex) of it. */
  readonly fingerprint: string;
}

/** Which key of which depositary: people and log are told the fingerprint. */
export type DepositaryKey = Pick<EnrolledDepositary, 'id' | 'fingerprint'>;

/** A deposited key under a key-encryption key. */
export interface Wrapped {
  readonly sealed: Sealed<'kek'>;
  /** Which key-encryption key, e.g. `kek:operate:sign:v1`. */
  readonly kek: string;
}

/** A key-encryption key that the token holds, as the ceremony made it. */
export interface HeldKek {
  readonly label: string;
  /** Whether it has a rotating handle, as the ceremony made it: only by that do keys for `operate` come under another one. */
  readonly hasRotatingHandle: boolean;
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
    spec: GeneratedSpec,
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
  /**
   * RSA-OAEP under the trusted key of this depositary that has this fingerprint, and under no other that the token may hold for them by
   * now. Throws `depositary-not-enrolled` when it is not there.
   */
  wrapToDepositary(
    key: Held<'share-key' | 'transfer-key'>,
    depositary: DepositaryKey,
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
  /**
   * Whether `outer` opens under this key to `inner`: sealed once more in the same way it is the same. `refused`: it does not. The key
   * that seals opens nothing.
   */
  proveSealed<By extends 'share-key' | 'layer-key'>(
    key: Held<By>,
    order: { readonly inner: Sealed<Opener>; readonly aad: Uint8Array; readonly outer: Sealed<By> },
  ): Promise<Opened<void>>;
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
  /**
   * Whether what is wrapped under the public key of this pair comes back by its private one: tried with a key made for that. `refused`:
   * they are of two pairs.
   */
  proveServerFor(pair: {
    readonly depositary: PrincipalId;
    readonly version: ServerForVersion;
  }): Promise<Opened<void>>;
  /** Unwraps a user key under the operate KEK into the token object `grant:<id>`, never exportable. */
  raiseGrant(order: {
    readonly grant: GrantId;
    readonly wrapped: Wrapped;
    readonly spec: KeySpec;
    readonly use: Operation;
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
   * Puts a key that lies under a key-encryption key under another one of its kind, `to`, and shows that it comes out of that as
   * the same key. In the token, and within this call: nothing of it is in flight when it resolves. For `operate` the key has no
   * use meanwhile and goes out under trusted keys only, by the rotating handles that both must have.
   * Throws `token-object-missing` when one of these is not in the token.
   */
  rewrap(order: {
    readonly wrapped: Wrapped;
    readonly purpose: Purpose;
    readonly spec: KeySpec;
    readonly use: KeyUse;
    readonly to: string;
  }): Promise<Opened<Wrapped>>;

  /**
   * Whether what lies under a key-encryption key comes out of it as the key that it is said to be, and for an asymmetric key or a secret is
   * the one that is known: it is used once, by the one use that it may have, over what can be nothing else. In the token, and
   * within this call: nothing of it is in flight when it resolves, and nothing that it made is told. Of an AES key nothing is known. `made`:
   * the key in flight that was wrapped, which must be the same. `refused`: it is not. Throws `token-object-missing` when the token does
   * not hold that key-encryption key.
   */
  proveWrapped(order: {
    readonly wrapped: Wrapped;
    readonly purpose: Purpose;
    readonly spec: KeySpec;
    readonly use: KeyUse;
    /** DER SubjectPublicKeyInfo. */
    readonly publicKey?: Uint8Array | undefined;
    /** Of a secret alone. */
    readonly checkValue?: Uint8Array | undefined;
    readonly made?: Held<'user-key'>;
  }): Promise<Opened<void>>;

  /** Makes a one-time RSA-3072 pair to import one key under, as token objects. Returns its DER SubjectPublicKeyInfo. */
  createImportPair(id: ImportId): Promise<{ readonly publicKey: Uint8Array }>;
  /** Destroys that pair; does nothing when it is gone. */
  destroyImportPair(id: ImportId): Promise<void>;
  /**
   * Unwraps a private key that was wrapped to an import pair (CKM_RSA_AES_KEY_WRAP, PKCS#11 2.40 section 2.1.21): in flight,
   * sensitive, extractable for the length of this loan only. And has the same key used once, for something that can be nothing
   * else: `isClaimed` says whether it is the private half of the public key that is claimed.
   */
  unwrapImported(order: {
    readonly pair: ImportId;
    readonly wrapped: Sealed<'import'>;
    readonly spec: ImportableSpec;
    /** DER SubjectPublicKeyInfo. */
    readonly claimed: Uint8Array;
  }): Promise<Opened<{ readonly key: Held<'user-key'>; readonly isClaimed: boolean }>>;
  /**
   * The same of a secret in its frame (see `records/keySpecs.ts`): `isClaimed` says whether its check value is the one that is
   * claimed. That proves which frame it is, and not that the frame is in order, which nobody here can see.
   */
  unwrapSecret(order: {
    readonly pair: ImportId;
    readonly wrapped: Sealed<'import'>;
    readonly checkValue: Uint8Array;
  }): Promise<Opened<{ readonly key: Held<'user-key'>; readonly isClaimed: boolean }>>;

  /**
   * Signs each of `data` with `grant:<id>`, in order: digests for mechanisms that have one, messages for EdDSA. `made` is given
   * each signature in its JOSE form (RFC 7518 section 3.4: r || s for ECDSA). When it rejects, those before were made and given.
   */
  sign(
    grant: GrantId,
    spec: KeySpec,
    mechanism: SignMechanism,
    data: readonly Uint8Array[],
    made: (signature: Uint8Array) => void,
  ): Promise<void>;
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
  readonly imports: readonly ImportId[];
}

export interface RaisedGrant {
  readonly spec: KeySpec;
  /** The use of the key is one of these. */
  readonly uses: readonly Operation[];
  readonly mechanisms: readonly Mechanism[];
}

/** One-time keys and grants that may stand in the token, by the records. */
export interface RecordedObjects {
  readonly transports: ReadonlySet<RecoveryId>;
  readonly imports: ReadonlySet<ImportId>;
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
  /** How often it was opened: after each time it may hold other objects than before. */
  readonly openings: number;
  /** The depositaries enrolled now. */
  enrolled(): Promise<readonly EnrolledDepositary[]>;
  /** The key-encryption keys that it holds. Throws EscrowError `token-unavailable`. */
  keks(): Promise<readonly HeldKek[]>;
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
