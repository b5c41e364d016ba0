/*
 * A secret is deposited in a frame: 32 random bytes, its length in two bytes (big-endian), the secret, and zeros up to one of a few
 * lengths. A token hands a secret key back with up to seven zeros behind it, and its own record of the length is gone: the frame keeps
 * the length, and hides it from whoever sees the ciphertext but for the bucket. The random bytes make what is computed of the frame
 * useless for guessing a passphrase.
 */

/** Lengths of frames, in bytes. Each is a multiple of 8, so that no token adds to it (RFC 5649 section 3). */
export const SECRET_FRAME_BYTES = [128, 512, 1088] as const;
/** Random bytes that a frame begins with. */
export const SECRET_SALT_BYTES = 32;
/** Bytes of the length that follows. */
export const SECRET_LENGTH_BYTES = 2;
/** Bytes of the longest secret; the shortest has one. */
export const MAX_SECRET_BYTES = 1024;

/** Bytes of a {@link SECRET_CHECK_TEXT} under HMAC-SHA-256. */
export const CHECK_VALUE_BYTES = 32;
/** The check value of a secret is HMAC-SHA-256 of this under the whole frame (RFC 2104, RFC 6234): what says which secret it is. */
export const SECRET_CHECK_TEXT = 'escrowd secret check value 1\n';

/** Whether so many bytes under a key-encryption key can be a frame: AES key wrap with padding adds 8 to a multiple of 8. */
export function isWrappedFrame(wrappedBytes: number): boolean {
  return SECRET_FRAME_BYTES.some((bytes) => bytes + 8 === wrappedBytes);
}
