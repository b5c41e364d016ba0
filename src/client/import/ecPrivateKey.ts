import { createECDH, ECDH } from 'node:crypto';

import type { ImportableSpec } from '../../escrow/records/keySpecs.js';
import { sameBytes } from '../../log/tree/merkle.js';
import { DerReader, TAG } from './derReader.js';
import { KeyFileError } from './keyFileError.js';

interface Curve {
  readonly spec: ImportableSpec;
  /** Object identifier (SEC 2 section A.2), as hexadecimal of its content. */
  readonly oid: string;
  readonly jwk: string;
  /** By which OpenSSL knows it. */
  readonly name: string;
  /** Bytes of the order, and of a private number (SEC 1 section C.4). */
  readonly bytes: number;
}

const CURVES: readonly Curve[] = [
  { spec: 'ec-p256', oid: '2a8648ce3d030107', jwk: 'P-256', name: 'prime256v1', bytes: 32 },
  { spec: 'ec-p384', oid: '2b81040022', jwk: 'P-384', name: 'secp384r1', bytes: 48 },
  { spec: 'ec-p521', oid: '2b81040023', jwk: 'P-521', name: 'secp521r1', bytes: 66 },
];

/** The numbers of an EC key. */
export interface EcNumbers {
  readonly spec: ImportableSpec;
  readonly curve: Pick<Curve, 'oid' | 'jwk'>;
  /** As long as the order; a copy, to be overwritten. */
  readonly d: Buffer;
  /** The public point, uncompressed, computed from d. */
  readonly point: Buffer;
}

/**
 * Reads ECPrivateKey (RFC 5915 section 3) of a named curve. The public point is computed; one that is in the file must be it.
 * @throws KeyFileError `der-malformed`, `curve-missing`, `curve-explicit`, `curve-unsupported`, `scalar-out-of-range`,
 *   `public-key-differs`
 */
export function readEcKey(algorithm: DerReader, content: Buffer): EcNumbers {
  const curve = curveIn(algorithm);
  const outer = new DerReader(content);
  const key = outer.enter(TAG.sequence);
  outer.end();
  if (key.small() !== 1) throw new KeyFileError('der-malformed');
  const scalar = key.take(TAG.octets);
  if (key.next === TAG.context0 && curveIn(key.enter(TAG.context0)) !== curve) {
    throw new KeyFileError('curve-unsupported', 'The key names two different curves.');
  }
  const shown = key.next === TAG.context1 ? pointIn(key.enter(TAG.context1)) : undefined;
  key.end();
  const d = padded(scalar, curve);
  try {
    const point = publicPoint(d, curve);
    if (shown !== undefined && !isSamePoint(shown, point, curve))
      throw new KeyFileError('public-key-differs');
    return { spec: curve.spec, curve, d, point };
  } catch (error) {
    d.fill(0);
    throw error;
  }
}

/** ECParameters (RFC 5480 section 2.1.1): a name; anything else could be any curve. */
function curveIn(reader: DerReader): Curve {
  if (reader.next === undefined || reader.next === TAG.null) throw new KeyFileError('curve-missing');
  if (reader.next === TAG.sequence) throw new KeyFileError('curve-explicit');
  const oid = reader.take(TAG.oid).toString('hex');
  reader.end();
  const curve = CURVES.find((known) => known.oid === oid);
  if (curve === undefined) throw new KeyFileError('curve-unsupported');
  return curve;
}

function pointIn(reader: DerReader): Buffer {
  const bits = reader.take(TAG.bitString);
  reader.end();
  if (bits[0] !== 0) throw new KeyFileError('der-malformed');
  return bits.subarray(1);
}

/** Some leave out leading zeros, some write one too many. */
function padded(scalar: Buffer, { bytes }: Curve): Buffer {
  const first = scalar.findIndex((byte) => byte !== 0);
  const digits = scalar.subarray(first < 0 ? scalar.length : first);
  if (digits.length === 0 || digits.length > bytes) throw new KeyFileError('scalar-out-of-range');
  const d = Buffer.alloc(bytes);
  digits.copy(d, bytes - digits.length);
  return d;
}

/** OpenSSL refuses 0 and whatever is not below the order. */
function publicPoint(d: Buffer, { name }: Curve): Buffer {
  try {
    const pair = createECDH(name);
    pair.setPrivateKey(d);
    return pair.getPublicKey();
  } catch (cause) {
    throw new KeyFileError('scalar-out-of-range', undefined, { cause });
  }
}

/** Compressed or not (SEC 1 section 2.3.3); a point that is on no curve is none. */
function isSamePoint(shown: Buffer, point: Buffer, { name }: Curve): boolean {
  try {
    const whole = ECDH.convertKey(shown, name, undefined, undefined, 'uncompressed');
    return Buffer.isBuffer(whole) && sameBytes(whole, point);
  } catch {
    return false;
  }
}
