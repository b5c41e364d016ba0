import { type KeySpec, type KeyUse, type Operation, KEY_SPECS } from './keySpecs.js';

/**
 * The mechanisms that a grant can name, by their JOSE names (RFC 7518, RFC 8037). `digest` is the hash taken of
 * a message before it is signed; where it is undefined the mechanism signs messages only. Never raw RSA, never
 * RSA PKCS#1 v1.5 decryption.
 */
export const MECHANISMS = {
  RS256: { use: 'sign', kind: 'RSA', digest: 'sha256' },
  RS384: { use: 'sign', kind: 'RSA', digest: 'sha384' },
  RS512: { use: 'sign', kind: 'RSA', digest: 'sha512' },
  PS256: { use: 'sign', kind: 'RSA', digest: 'sha256' },
  PS384: { use: 'sign', kind: 'RSA', digest: 'sha384' },
  PS512: { use: 'sign', kind: 'RSA', digest: 'sha512' },
  ES256: { use: 'sign', kind: 'EC', digest: 'sha256', curve: 'secp256r1' },
  ES384: { use: 'sign', kind: 'EC', digest: 'sha384', curve: 'secp384r1' },
  ES512: { use: 'sign', kind: 'EC', digest: 'sha512', curve: 'secp521r1' },
  EdDSA: { use: 'sign', kind: 'OKP', digest: undefined },
  'RSA-OAEP': { use: 'decrypt', kind: 'RSA', digest: undefined },
  'RSA-OAEP-256': { use: 'decrypt', kind: 'RSA', digest: undefined },
  A256GCM: { use: 'decrypt', kind: 'AES', digest: undefined },
} as const satisfies Record<
  string,
  {
    readonly use: Operation;
    readonly kind: (typeof KEY_SPECS)[KeySpec]['kind'];
    readonly digest: DigestName | undefined;
    readonly curve?: string;
  }
>;

/** Hashes by the names of node:crypto. */
export type DigestName = 'sha256' | 'sha384' | 'sha512';
/** The JOSE name of a mechanism. */
export type Mechanism = keyof typeof MECHANISMS;
export type SignMechanism = {
  [M in Mechanism]: (typeof MECHANISMS)[M]['use'] extends 'sign' ? M : never;
}[Mechanism];
export type DecryptMechanism = Exclude<Mechanism, SignMechanism>;

export const MECHANISM_NAMES = Object.keys(MECHANISMS) as readonly Mechanism[];

export const DIGEST_BYTES = { sha256: 32, sha384: 48, sha512: 64 } as const satisfies Record<
  DigestName,
  number
>;

/** The mechanisms that fit a key: same kind, same use, and for EC the hash that belongs to the curve. */
export function mechanismsFor(spec: KeySpec, use: KeyUse): readonly Mechanism[] {
  const key = KEY_SPECS[spec];
  return MECHANISM_NAMES.filter((name) => {
    const mechanism = MECHANISMS[name];
    if (mechanism.use !== use || mechanism.kind !== key.kind) return false;
    return !('curve' in mechanism) || ('curve' in key && mechanism.curve === key.curve);
  });
}

export function signs(mechanism: Mechanism): mechanism is SignMechanism {
  return MECHANISMS[mechanism].use === 'sign';
}
