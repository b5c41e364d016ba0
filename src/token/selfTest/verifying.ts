import { type KeyObject, constants, createHash, verify } from 'node:crypto';
import { type SignMechanism, DIGEST_BYTES, MECHANISMS } from '../../escrow/records/mechanisms.js';

/** What the token is given to sign of a message: its digest, or for EdDSA the message. */
export function signable(mechanism: SignMechanism, message: Buffer): Buffer {
  const digest = MECHANISMS[mechanism].digest;
  return digest === undefined ? message : createHash(digest).update(message).digest();
}

/** Whether this is a JOSE signature (RFC 7518 section 3) of the message, by node:crypto and not by the token. */
export function verifies(
  key: KeyObject,
  mechanism: SignMechanism,
  message: Buffer,
  signature: Uint8Array,
): boolean {
  switch (mechanism) {
    case 'RS256':
    case 'RS384':
    case 'RS512':
      return verify(MECHANISMS[mechanism].digest, message, key, signature);
    case 'PS256':
    case 'PS384':
    case 'PS512': {
      const { digest } = MECHANISMS[mechanism];
      const pss = { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: DIGEST_BYTES[digest] };
      return verify(digest, message, { key, ...pss }, signature);
    }
    case 'ES256':
    case 'ES384':
    case 'ES512':
      return verify(MECHANISMS[mechanism].digest, message, { key, dsaEncoding: 'ieee-p1363' }, signature);
    case 'EdDSA':
      return verify(null, message, key, signature);
  }
}
