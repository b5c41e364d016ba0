import { EscrowError } from '../../escrow/records/errors.js';
import { GCM } from '../profile/mechanisms.js';
import { TOKEN_RSA } from '../profile/templateParts.js';

/*
 * Lengths are judged before any call: SoftHSM leaves an operation active for ever after an empty input or a
 * buffer that is too small, and whatever has the wrong length cannot be what it claims.
 */

/** Most bytes that are sealed, opened, signed or decrypted in one call. */
export const MOST_BYTES = 1 << 20;
/** Room for any wrapped key (PKCS#8 of RSA-4096 is about 2,400 bytes). */
export const WRAPPED_KEY_ROOM = 8192;

/** Whether this can be RSA-OAEP to one of the token's own pairs. */
export function fitsTokenRsa(ciphertext: Uint8Array): boolean {
  return ciphertext.length === TOKEN_RSA.ciphertextBytes;
}

/** Whether this can be AES key wrap with padding (RFC 5649 section 4.1: at least three blocks of 64 bits). */
export function fitsKeyWrap(ciphertext: Uint8Array): boolean {
  return ciphertext.length >= 24 && ciphertext.length <= WRAPPED_KEY_ROOM && ciphertext.length % 8 === 0;
}

/** Whether this can be IV, a ciphertext that is not empty, and tag. */
export function fitsLayer(ciphertext: Uint8Array): boolean {
  return ciphertext.length > GCM.ivBytes + GCM.tagBytes && ciphertext.length <= MOST_BYTES;
}

/** Throws when there is nothing to work on, or too much. */
export function requireBytes(data: Uint8Array, what: string): void {
  if (data.length === 0) throw new EscrowError('request-malformed', `The ${what} is empty.`);
  if (data.length > MOST_BYTES) throw new EscrowError('request-too-large', `The ${what} is too long.`);
}
