import { constants, type KeyObject, publicEncrypt, verify } from 'node:crypto';

import { isKnown, type Unrecognized } from '../api/reading.js';
import { KEY_SPEC_NAMES, KEY_SPECS, type KeySpec } from '../escrow/records/keySpecs.js';
import { MECHANISMS } from '../escrow/records/mechanisms.js';
import type { SignUse } from './use.js';

/** Whether a public key can be of this kind: that of another is not the one that is used. A kind that is not known may be any. */
export function isOfSpec(publicKey: KeyObject, spec: KeySpec | Unrecognized): boolean {
  if (!isKnown(KEY_SPEC_NAMES, spec)) return true;
  const { asymmetricKeyType: type, asymmetricKeyDetails: details } = publicKey;
  const row = KEY_SPECS[spec];
  if (row.kind === 'RSA') return type === 'rsa' && details?.modulusLength === row.modulusBits;
  if (row.kind === 'OKP') return type === row.curve.toLowerCase();
  return row.kind === 'EC' && type === 'ec' && curveOf(publicKey) === row.curve;
}

/**
 * Whether this can be the signature: of messages it is verified; of digests with PKCS #1 v1.5 the digest must be in it; of other
 * digests it has the right length, since node:crypto verifies none of ECDSA or PSS, and whoever asked can.
 */
export function holds({ key, mechanism, input }: SignUse, signature: Buffer): boolean {
  if (signature.length !== signatureBytes(key.publicKey)) return false;
  if (input.kind === 'digest')
    return !mechanism.startsWith('RS') || isIn(signature, key.publicKey, input.bytes);
  const { kind, digest } = MECHANISMS[mechanism];
  const padding = mechanism.startsWith('PS')
    ? { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_AUTO }
    : {};
  const dsaEncoding = kind === 'EC' ? ({ dsaEncoding: 'ieee-p1363' } as const) : {};
  return verify(digest, input.bytes, { key: key.publicKey, ...padding, ...dsaEncoding }, signature);
}

/** Of JOSE's form (RFC 7518 section 3.4, RFC 8037 section 3.1). */
function signatureBytes(publicKey: KeyObject): number {
  const { asymmetricKeyType: type, asymmetricKeyDetails: details } = publicKey;
  if (type === 'rsa') return (details?.modulusLength ?? 0) / 8;
  if (type === 'ed25519') return 64;
  const row = Object.values(KEY_SPECS).find((one) => one.kind === 'EC' && one.curve === curveOf(publicKey));
  return row?.kind === 'EC' ? 2 * row.orderBytes : 0;
}

/** By its SEC 2 name. */
function curveOf({ asymmetricKeyDetails: details }: KeyObject): string | undefined {
  return details?.namedCurve === 'prime256v1' ? 'secp256r1' : details?.namedCurve;
}

/** RFC 8017 section 9.2: what is signed ends with the digest. */
function isIn(signature: Buffer, key: KeyObject, digest: Uint8Array): boolean {
  try {
    const signed = publicEncrypt({ key, padding: constants.RSA_NO_PADDING }, signature);
    return signed.subarray(-digest.length).equals(digest);
  } catch {
    // a number that is not below the modulus
    return false;
  }
}
