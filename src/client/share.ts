import type { KeyObject } from 'node:crypto';
import { constants, createPublicKey, privateDecrypt, publicEncrypt } from 'node:crypto';

import { NotBelieved } from './errors.js';

/** The hash of RSA-OAEP and of its MGF1, by the JOSE name (RFC 7518 section 4.3). */
const OAEP_HASHES = { 'RSA-OAEP': 'sha1', 'RSA-OAEP-256': 'sha256' } as const;

/** R is an AES-256 key. */
const SECRET_BYTES = 32;

/** A share to be passed on. */
export interface ShareToPassOn {
  /** OAEP(depositary's public key, R). */
  readonly share: Uint8Array;
  readonly depositaryKey: KeyObject;
  /** DER SubjectPublicKeyInfo of the one-time key, attested. */
  readonly transportKey: Uint8Array;
  readonly oaep: string;
}

/**
 * OAEP(transport key, R). R stands in this process between two calls into OpenSSL, and is overwritten whatever happens.
 * @throws NotBelieved `share-malformed` when the share does not open to 32 bytes
 */
export function reencryptShare({ share, depositaryKey, transportKey, oaep }: ShareToPassOn): Buffer {
  const oaepHash = oaepHashOf(oaep);
  if (oaepHash === undefined)
    throw new NotBelieved('share-malformed', `unknown encryption of the share: ${oaep}`);
  const transport = createPublicKey({ key: Buffer.from(transportKey), format: 'der', type: 'spki' });
  const secret = openOaep(depositaryKey, share, oaepHash);
  if (secret === undefined) {
    throw new NotBelieved('share-malformed', 'the share does not open with this depositary key');
  }
  try {
    if (secret.length !== SECRET_BYTES) throw new NotBelieved('share-malformed');
    const padding = constants.RSA_PKCS1_OAEP_PADDING;
    return publicEncrypt({ key: transport, padding, oaepHash }, secret);
  } finally {
    secret.fill(0);
  }
}

/** The hash that an OAEP is named for; undefined for names that are not known. */
export function oaepHashOf(oaep: string): 'sha1' | 'sha256' | undefined {
  return oaep === 'RSA-OAEP' || oaep === 'RSA-OAEP-256' ? OAEP_HASHES[oaep] : undefined;
}

/** What RSA-OAEP (RFC 8017 section 7.1.2, empty label) opens to, or undefined. The caller overwrites it. */
export function openOaep(
  key: KeyObject,
  ciphertext: Uint8Array,
  oaepHash: 'sha1' | 'sha256',
): Buffer | undefined {
  try {
    return privateDecrypt({ key, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash }, ciphertext);
  } catch {
    return undefined;
  }
}
