import { type KeyObject, createPublicKey } from 'node:crypto';
import { type JWTPayload, SignJWT } from 'jose';

import type { SigningKey } from '../../escrow/records/principals.js';
import { IdentityError } from '../errors.js';
import { type Jwk, jwkThumbprint } from '../../jose/jws.js';

/** The signature algorithms that a principal's key can have. */
export type SigningAlgorithm = SigningKey['alg'];

/**
 * Signs requests and statements for one principal. A private key in a file is one (see {@link signerOf}); a smart card
 * or a browser key can be another.
 */
export interface Signer {
  readonly id: string;
  /** RFC 7638 thumbprint of the public key. */
  readonly kid: string;
  readonly algorithm: SigningAlgorithm;
  /** Public JWK with `alg` and `kid`, as a policy document lists it. */
  readonly publicJwk: Jwk;
  /** A compact JWS of this type over these claims; the header has `typ`, `alg` and `kid`. */
  sign(typ: string, claims: JWTPayload): Promise<string>;
}

/**
 * The signer that a private key is.
 * @throws IdentityError `key-malformed` when the key is not EC P-256 or P-384, Ed25519, or RSA of at least 2048 bits.
 */
export function signerOf(id: string, key: KeyObject): Signer {
  const algorithm = algorithmOf(key);
  const members = publicMembers(key);
  const kid = jwkThumbprint(members);
  if (algorithm === undefined || kid === undefined) {
    throw new IdentityError('key-malformed', 'the signing key is not EC P-256, P-384, Ed25519 or RSA');
  }
  return {
    id,
    kid,
    algorithm,
    publicJwk: { ...members, alg: algorithm, kid },
    sign: (typ, claims) => new SignJWT(claims).setProtectedHeader({ typ, alg: algorithm, kid }).sign(key),
  };
}

function algorithmOf(key: KeyObject): SigningAlgorithm | undefined {
  const type = key.asymmetricKeyType;
  const { namedCurve, modulusLength = 0 } = key.asymmetricKeyDetails ?? {};
  if (type === 'ec' && namedCurve === 'prime256v1') return 'ES256';
  if (type === 'ec' && namedCurve === 'secp384r1') return 'ES384';
  if (type === 'ed25519') return 'EdDSA';
  return type === 'rsa' && modulusLength >= 2048 ? 'PS256' : undefined;
}

function publicMembers(key: KeyObject): Jwk {
  const jwk = createPublicKey(key).export({ format: 'jwk' });
  return Object.fromEntries(
    Object.entries(jwk).filter((member): member is [string, string] => typeof member[1] === 'string'),
  );
}
