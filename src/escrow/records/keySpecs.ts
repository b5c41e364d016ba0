/** What is done with a key on its owner's behalf. `decrypt` covers key agreement as well. */
export const OPERATIONS = ['sign', 'decrypt'] as const;
/** One of {@link OPERATIONS}. */
export type Operation = (typeof OPERATIONS)[number];

/** What a key can be for. What is for `keep` does nothing in the token: it is kept, and handed out by a release. */
export const KEY_USES = [...OPERATIONS, 'keep'] as const;
/** One of {@link KEY_USES}. */
export type KeyUse = (typeof KEY_USES)[number];

/**
 * The kinds of user keys, by name. Lengths in bits; curves by their SEC 2 / RFC 8410 names. `secret`: a passphrase, a disk key or a
 * token of somebody's, in a frame (see below).
 */
export const KEY_SPECS = {
  'rsa-2048': { kind: 'RSA', modulusBits: 2048, uses: ['sign', 'decrypt'] },
  'rsa-3072': { kind: 'RSA', modulusBits: 3072, uses: ['sign', 'decrypt'] },
  'rsa-4096': { kind: 'RSA', modulusBits: 4096, uses: ['sign', 'decrypt'] },
  'ec-p256': { kind: 'EC', curve: 'secp256r1', orderBytes: 32, uses: ['sign'] },
  'ec-p384': { kind: 'EC', curve: 'secp384r1', orderBytes: 48, uses: ['sign'] },
  'ec-p521': { kind: 'EC', curve: 'secp521r1', orderBytes: 66, uses: ['sign'] },
  ed25519: { kind: 'OKP', curve: 'Ed25519', uses: ['sign'] },
  'aes-256': { kind: 'AES', keyBits: 256, uses: ['decrypt'] },
  secret: { kind: 'SECRET', uses: ['keep'] },
} as const satisfies Record<
  string,
  {
    readonly kind: 'RSA' | 'EC' | 'OKP' | 'AES' | 'SECRET';
    readonly uses: readonly KeyUse[];
    readonly [more: string]: unknown;
  }
>;

/** The name of a key specification. */
export type KeySpec = keyof typeof KEY_SPECS;

/** Those of which a key can come from outside: their public halves prove in the token that it is the right one. */
export type ImportableSpec = Extract<KeySpec, `rsa-${string}` | `ec-${string}`>;

export const IMPORTABLE_SPECS = [
  'rsa-2048',
  'rsa-3072',
  'rsa-4096',
  'ec-p256',
  'ec-p384',
  'ec-p521',
] as const satisfies readonly ImportableSpec[];

export const KEY_SPEC_NAMES = Object.keys(KEY_SPECS) as readonly KeySpec[];

/** Those that the token makes: secrets come from outside. */
export type GeneratedSpec = Exclude<KeySpec, 'secret'>;

export const GENERATED_SPECS = KEY_SPEC_NAMES.filter((spec): spec is GeneratedSpec => spec !== 'secret');

/** Whether it has no public half. */
export function isSymmetric(spec: KeySpec): spec is 'aes-256' | 'secret' {
  return spec === 'aes-256' || spec === 'secret';
}

/** Whether keys of this specification can be used this way. */
export function specAllows(spec: KeySpec, use: KeyUse): boolean {
  return (KEY_SPECS[spec].uses as readonly KeyUse[]).includes(use);
}

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
