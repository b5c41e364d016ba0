import { createPublicKey } from 'node:crypto';

import { EscrowError } from '../escrow/records/errors.js';
import { type ImportableSpec, KEY_SPECS, isWrappedFrame } from '../escrow/records/keySpecs.js';
import { type Sealed, sealed } from '../escrow/records/sealing/sealed.js';

/** Bytes of the AES key under an import key (RSA-3072). */
const TRANSFER_KEY_BYTES = 384;

/**
 * A secret in its frame, wrapped to an import key: as long as one of the frames can be.
 * @throws EscrowError `request-malformed`
 */
export function wrappedFrame(wrapped: Uint8Array): Sealed<'import'> {
  if (!isWrappedFrame(wrapped.length - TRANSFER_KEY_BYTES)) {
    throw new EscrowError(
      'request-malformed',
      'In the body: wrapped is no secret in a frame of 128, 512 or 1088 bytes.',
    );
  }
  return sealed('import', wrapped);
}

/** By the names of JWK (RFC 7518 section 6.2.1.1). */
const CURVES = { secp256r1: 'P-256', secp384r1: 'P-384', secp521r1: 'P-521' } as const;

/**
 * The public key of a key that is imported: of this specification, in the one spelling that keys have here.
 * @param der SubjectPublicKeyInfo
 * @throws EscrowError `request-malformed`
 */
export function claimedKey(der: Uint8Array, spec: ImportableSpec): Uint8Array {
  const found = read(der);
  const row = KEY_SPECS[spec];
  const isOfSpec =
    found !== undefined &&
    ('modulusBits' in row ? found.bits === row.modulusBits : found.curve === CURVES[row.curve]);
  if (!isOfSpec) throw new EscrowError('request-malformed', `In the body: publicKey is none of ${spec}.`);
  // compressed points and explicit curves have other bytes
  if (!Buffer.from(der).equals(found.der))
    throw new EscrowError('request-malformed', 'In the body: publicKey is not in its usual encoding.');
  return found.der;
}

function read(
  der: Uint8Array,
):
  | { readonly der: Buffer; readonly bits: number | undefined; readonly curve: string | undefined }
  | undefined {
  try {
    const key = createPublicKey({ key: Buffer.from(der), format: 'der', type: 'spki' });
    const jwk = key.export({ format: 'jwk' });
    // written anew from its numbers
    const again = createPublicKey({ key: jwk, format: 'jwk' });
    return {
      der: again.export({ format: 'der', type: 'spki' }),
      bits: jwk.kty === 'RSA' ? key.asymmetricKeyDetails?.modulusLength : undefined,
      curve: jwk.crv,
    };
  } catch {
    return undefined;
  }
}
