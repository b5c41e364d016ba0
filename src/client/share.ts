import { constants, createPublicKey, publicEncrypt } from 'node:crypto';

import type { DecryptionKey } from './decryptionKey.js';
import { oaepHash, oaepNamed } from './decryptionKey.js';
import { NotBelieved } from './errors.js';

/** R is an AES-256 key. */
const SECRET_BYTES = 32;

/** A share to be passed on. */
export interface ShareToPassOn {
  /** OAEP(depositary's public key, R). */
  readonly share: Uint8Array;
  readonly depositaryKey: DecryptionKey;
  /** DER SubjectPublicKeyInfo of the one-time key, attested. */
  readonly transportKey: Uint8Array;
  readonly oaep: string;
}

/**
 * OAEP(transport key, R). R stands in this process between two calls into OpenSSL, and is overwritten whatever happens.
 * @throws NotBelieved `share-malformed` when the share does not open to 32 bytes
 */
export async function reencryptShare(order: ShareToPassOn): Promise<Buffer> {
  const { share, depositaryKey, transportKey } = order;
  const oaep = oaepNamed(order.oaep);
  if (oaep === undefined)
    throw new NotBelieved('share-malformed', `unknown encryption of the share: ${order.oaep}`);
  const transport = createPublicKey({ key: Buffer.from(transportKey), format: 'der', type: 'spki' });
  const secret = await depositaryKey.open(share, oaep);
  if (secret === undefined) {
    throw new NotBelieved('share-malformed', 'the share does not open with this depositary key');
  }
  try {
    if (secret.length !== SECRET_BYTES) throw new NotBelieved('share-malformed');
    const padding = constants.RSA_PKCS1_OAEP_PADDING;
    return publicEncrypt({ key: transport, padding, oaepHash: oaepHash(oaep) }, secret);
  } finally {
    secret.fill(0);
  }
}
