import { createHash, type KeyObject } from 'node:crypto';

import { DerReader, TAG } from '../../client/import/derReader.js';
import { derValue } from '../../system/der.js';

/** What PKCS#11 says of a public key. */
export type PublicPart = {
  /** SubjectPublicKeyInfo, DER. */
  readonly info: Buffer;
  /** CKA_ID of all objects of the key: the SHA-1 of the SubjectPublicKeyInfo. */
  readonly id: Buffer;
} & (
  | {
      readonly kind: 'RSA';
      readonly modulus: Buffer;
      readonly exponent: Buffer;
      readonly modulusBits: number;
    }
  | {
      readonly kind: 'EC';
      /** The curve's OBJECT IDENTIFIER, DER. */
      readonly parameters: Buffer;
      /** An OCTET STRING with the uncompressed point, DER (PKCS#11 2.40 section 2.3.3). */
      readonly point: Buffer;
      readonly curve: CurveName;
    }
);

/** The curves of deposited keys, by their JWK names. */
export type CurveName = 'P-256' | 'P-384' | 'P-521';
const CURVES: readonly string[] = ['P-256', 'P-384', 'P-521'] satisfies readonly CurveName[];

/** Undefined for a kind of key that no program can use by p11-kit: Ed25519 (its clients do not pass CKM_EDDSA on). */
export function publicPartOf(key: KeyObject): PublicPart | undefined {
  const info = key.export({ format: 'der', type: 'spki' });
  const id = createHash('sha1').update(info).digest();
  const jwk = key.export({ format: 'jwk' });
  if (jwk.kty === 'RSA') {
    const modulus = Buffer.from(jwk.n ?? '', 'base64url');
    const exponent = Buffer.from(jwk.e ?? '', 'base64url');
    return { kind: 'RSA', info, id, modulus, exponent, modulusBits: bitsOf(modulus) };
  }
  if (!isCurve(jwk.crv)) return undefined;
  // RFC 5480 section 2: AlgorithmIdentifier with the curve, then the point
  const reader = new DerReader(info).enter(TAG.sequence);
  const algorithm = reader.enter(TAG.sequence);
  algorithm.any();
  const parameters = algorithm.any();
  const point = derValue(TAG.octets, reader.take(TAG.bitString).subarray(1));
  return { kind: 'EC', info, id, parameters, point, curve: jwk.crv };
}

function isCurve(name: string | undefined): name is CurveName {
  return name !== undefined && CURVES.includes(name);
}

function bitsOf(modulus: Buffer): number {
  return 8 * modulus.length - Math.clz32(modulus[0] ?? 0) + 24;
}
