import { type JsonWebKey, type KeyObject, createHash, createPublicKey } from 'node:crypto';

/** The curves in use: OID for CKA_EC_PARAMS (DER), JWK name, and bytes of a coordinate. */
export const CURVES = {
  secp256r1: { params: Buffer.from('06082a8648ce3d030107', 'hex'), jwk: 'P-256', coordinateBytes: 32 },
  secp384r1: { params: Buffer.from('06052b81040022', 'hex'), jwk: 'P-384', coordinateBytes: 48 },
  secp521r1: { params: Buffer.from('06052b81040023', 'hex'), jwk: 'P-521', coordinateBytes: 66 },
  Ed25519: { params: Buffer.from('06032b6570', 'hex'), jwk: 'Ed25519', coordinateBytes: 32 },
} as const;

/** The name of a curve in use. */
export type Curve = keyof typeof CURVES;

/** DER SubjectPublicKeyInfo (RFC 5280 section 4.1.2.7) of an RSA key from CKA_MODULUS and CKA_PUBLIC_EXPONENT. */
export function rsaSpki(modulus: Buffer, exponent: Buffer): Buffer {
  return spkiOf({ kty: 'RSA', n: minimal(modulus), e: minimal(exponent) });
}

/** DER SubjectPublicKeyInfo of an EC or Edwards key from CKA_EC_POINT. */
export function ecSpki(curve: Curve, ecPoint: Buffer): Buffer {
  const { jwk, coordinateBytes } = CURVES[curve];
  if (curve === 'Ed25519') {
    return spkiOf({ kty: 'OKP', crv: jwk, x: unwrapPoint(ecPoint, coordinateBytes).toString('base64url') });
  }
  const point = unwrapPoint(ecPoint, 1 + 2 * coordinateBytes);
  if (point[0] !== 0x04) throw new Error('the token gave an EC point that is not uncompressed');
  return spkiOf({
    kty: 'EC',
    crv: jwk,
    x: point.subarray(1, 1 + coordinateBytes).toString('base64url'),
    y: point.subarray(1 + coordinateBytes).toString('base64url'),
  });
}

/** Modulus and exponent of an RSA public key, as PKCS#11 wants them; undefined when it is no RSA key. */
export function rsaNumbers(
  key: KeyObject,
): { readonly modulus: Buffer; readonly exponent: Buffer; readonly bits: number } | undefined {
  if (key.asymmetricKeyType !== 'rsa') return undefined;
  const { n, e } = key.export({ format: 'jwk' });
  const bits = key.asymmetricKeyDetails?.modulusLength;
  if (n === undefined || e === undefined || bits === undefined) return undefined;
  return { modulus: Buffer.from(n, 'base64url'), exponent: Buffer.from(e, 'base64url'), bits };
}

/** Parses DER SubjectPublicKeyInfo; undefined when it is none. */
export function readSpki(spki: Uint8Array): KeyObject | undefined {
  try {
    return createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' });
  } catch {
    return undefined;
  }
}

/** SHA-256 of DER SubjectPublicKeyInfo: the CKA_ID of what the security officer enrolled. */
export function fingerprint(spki: Uint8Array): Buffer {
  return createHash('sha256').update(spki).digest();
}

/** CKA_EC_POINT is a DER OCTET STRING (PKCS#11 2.40 section 2.3.3); some tokens give the bare point. */
function unwrapPoint(ecPoint: Buffer, length: number): Buffer {
  if (ecPoint.length === length) return ecPoint;
  const header = ecPoint.length - length;
  const long = header === 3 && ecPoint[1] === 0x81 && ecPoint[2] === length;
  const short = header === 2 && ecPoint[1] === length;
  if (ecPoint[0] !== 0x04 || !(long || short)) throw new Error('the token gave an EC point of another form');
  return ecPoint.subarray(header);
}

function minimal(number: Buffer): string {
  const first = number.findIndex((byte) => byte !== 0);
  return number.subarray(Math.max(first, 0)).toString('base64url');
}

function spkiOf(jwk: JsonWebKey): Buffer {
  return createPublicKey({ key: jwk, format: 'jwk' }).export({ type: 'spki', format: 'der' });
}
