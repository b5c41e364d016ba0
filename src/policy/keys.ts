import { type JsonWebKey, type KeyObject, createHash, createPublicKey } from 'node:crypto';

import { z } from 'zod';

import type { SigningKey } from '../escrow/records/principals.js';
import { canonicalJson } from '../log/entry/canonical.js';

/** RSA keys are at least so long (SP 800-57 part 1, table 4), and not so long that verifying them is an attack. */
const RSA_BITS = { min: 2048, max: 8192 } as const;

const base64url = z
  .string()
  .max(1400)
  .regex(/^[A-Za-z0-9_-]+$/, 'must be base64url');
const about = { kid: z.string().max(64).optional(), use: z.literal('sig').optional() };

/**
 * A public JWK (RFC 7517) with the one algorithm that it is used with. Objects are closed, so that one with private
 * members (`d`, `p`, `k`, ...) is refused. What comes out has only the members that the thumbprint covers.
 */
export const signingKey = z
  .discriminatedUnion('alg', [
    z.strictObject({
      ...about,
      alg: z.literal('ES256'),
      kty: z.literal('EC'),
      crv: z.literal('P-256'),
      x: base64url,
      y: base64url,
    }),
    z.strictObject({
      ...about,
      alg: z.literal('ES384'),
      kty: z.literal('EC'),
      crv: z.literal('P-384'),
      x: base64url,
      y: base64url,
    }),
    z.strictObject({
      ...about,
      alg: z.literal('EdDSA'),
      kty: z.literal('OKP'),
      crv: z.literal('Ed25519'),
      x: base64url,
    }),
    z.strictObject({
      ...about,
      alg: z.literal('PS256'),
      kty: z.literal('RSA'),
      n: base64url,
      e: z.literal('AQAB'),
    }),
  ])
  .transform((written, context): SigningKey => {
    const { alg, kid } = written;
    const jwk = covered(written);
    const refuse = (message: string): never => {
      context.addIssue({ code: 'custom', message });
      return z.NEVER;
    };
    const found = importPublic({ key: jwk, format: 'jwk' });
    if (found === undefined || !isSameKey(found.export({ format: 'jwk' }), jwk))
      return refuse('is not a valid public key');
    if (written.kty === 'RSA' && !isAcceptedRsa(found)) return refuse('is not an RSA key of accepted length');
    const thumbprint = createHash('sha256').update(canonicalJson(jwk)).digest('base64url');
    if (kid !== undefined && kid !== thumbprint)
      return refuse('has another kid than its RFC 7638 thumbprint');
    return { jwk, alg, thumbprint };
  });

/** An RSA public key as SubjectPublicKeyInfo PEM (RFC 7468 section 13); its DER comes out. */
export const deliveryKey = z
  .string()
  .max(4096)
  .transform((pem, context): Uint8Array => {
    // a private key or a certificate would be taken by the crypto library as well: only this label may stand here
    const isLabelled = /^-----BEGIN PUBLIC KEY-----\n[A-Za-z0-9+/=\n]+-----END PUBLIC KEY-----\n?$/.test(pem);
    const found = isLabelled ? importPublic({ key: pem, format: 'pem', type: 'spki' }) : undefined;
    if (found !== undefined && isAcceptedRsa(found)) return found.export({ format: 'der', type: 'spki' });
    context.addIssue({ code: 'custom', message: 'is not an RSA public key of accepted length in SPKI PEM' });
    return z.NEVER;
  });

type Written =
  | { readonly kty: 'EC'; readonly crv: string; readonly x: string; readonly y: string }
  | { readonly kty: 'OKP'; readonly crv: string; readonly x: string }
  | { readonly kty: 'RSA'; readonly n: string; readonly e: string };

/** The required members of a key, which its thumbprint covers (RFC 7638 section 3.2, RFC 8037 section 2). */
function covered(key: Written): Record<string, string> {
  switch (key.kty) {
    case 'EC':
      return { kty: key.kty, crv: key.crv, x: key.x, y: key.y };
    case 'OKP':
      return { kty: key.kty, crv: key.crv, x: key.x };
    case 'RSA':
      return { kty: key.kty, n: key.n, e: key.e };
  }
}

function importPublic(key: Parameters<typeof createPublicKey>[0]): KeyObject | undefined {
  try {
    return createPublicKey(key);
  } catch {
    return undefined;
  }
}

/** A key has one text: leading zeros and stray bits would give it several thumbprints. */
function isSameKey(found: JsonWebKey, written: Readonly<Record<string, string>>): boolean {
  return Object.entries(written).every(([member, value]) => found[member] === value);
}

function isAcceptedRsa(key: KeyObject): boolean {
  const bits = key.asymmetricKeyType === 'rsa' ? (key.asymmetricKeyDetails?.modulusLength ?? 0) : 0;
  return bits >= RSA_BITS.min && bits <= RSA_BITS.max;
}
