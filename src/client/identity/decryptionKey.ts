import { type KeyObject, constants, createPublicKey, privateDecrypt } from 'node:crypto';

/** The hash of RSA-OAEP and of its MGF1, by the JOSE name (RFC 7518 section 4.3). */
const OAEP_HASHES = { 'RSA-OAEP': 'sha1', 'RSA-OAEP-256': 'sha256' } as const;

/** An RSA-OAEP by its JOSE name. */
export type OaepName = keyof typeof OAEP_HASHES;
export type OaepHash = (typeof OAEP_HASHES)[OaepName];

/** A person's own RSA key: one in a file, or one that never leaves a card. */
export interface DecryptionKey {
  /** DER SubjectPublicKeyInfo. */
  readonly publicKey: Buffer;
  /**
   * What RSA-OAEP (RFC 8017 section 7.1.2, empty label) opens to, or undefined when it does not. The caller overwrites it.
   * @throws IdentityError `key-missing`, `key-malformed` when the key itself cannot be used
   */
  open(ciphertext: Uint8Array, oaep: OaepName): Promise<Buffer | undefined>;
}

/** The OAEP of this name; undefined for names that are not known. */
export function oaepNamed(name: string): OaepName | undefined {
  return name === 'RSA-OAEP' || name === 'RSA-OAEP-256' ? name : undefined;
}

/** The hash of an OAEP. */
export function oaepHash(name: OaepName): OaepHash {
  return OAEP_HASHES[name];
}

/** A key that this process holds. */
export function softwareKey(key: KeyObject): DecryptionKey {
  return {
    publicKey: createPublicKey(key).export({ format: 'der', type: 'spki' }),
    open: (ciphertext, oaep) => Promise.resolve(openOaep(key, ciphertext, oaep)),
  };
}

/** The same for a key at hand. The caller overwrites what it returns. */
export function openOaep(key: KeyObject, ciphertext: Uint8Array, oaep: OaepName): Buffer | undefined {
  const how = { key, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: OAEP_HASHES[oaep] };
  try {
    return privateDecrypt(how, ciphertext);
  } catch {
    return undefined;
  }
}
