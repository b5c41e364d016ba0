import { type KeyObject, createPublicKey } from 'node:crypto';

import { type ImportableSpec, IMPORTABLE_SPECS, KEY_SPECS } from '../../escrow/records/keySpecs.js';
import { sameBytes } from '../../log/tree/merkle.js';
import { derInteger, derValue } from '../../system/der.js';
import { DerReader, TAG } from './derReader.js';
import { type EcNumbers, readEcKey } from './ecPrivateKey.js';
import { keyInFile } from './keyFile.js';
import { KeyFileError } from './keyFileError.js';
import { openPbes2 } from './pbes2.js';
import { type RsaNumbers, readRsaKey } from './rsaPrivateKey.js';

/** A private key that was read and checked. Call {@link destroyImportable} when it has been wrapped. */
export interface ImportableKey {
  readonly spec: ImportableSpec;
  /** DER SubjectPublicKeyInfo. */
  readonly publicKey: Buffer;
  /** PrivateKeyInfo of version 0 in DER, in the one spelling that such a key has here: without attributes or a public key. */
  readonly pkcs8: Buffer;
}

/** Object identifiers of the algorithms (RFC 8017 appendix C, RFC 5480 section 2.1.1), as hexadecimal of their content. */
export const OIDS = { rsa: '2a864886f70d010101', ec: '2a8648ce3d0201' } as const;

/**
 * Reads a private key of a file: PKCS#8 in PEM or DER, plain or under PBES2 (RFC 5208, RFC 8018). Everything that is in it
 * is checked, since the token checks next to nothing: two primes and all that follows from them, a named curve, a private
 * number in its range, and the public key that is in the file or was given. What it gives is written anew from the numbers.
 *
 * The bytes of the file and everything made of them is overwritten before this settles, but for what is given back and the
 * numbers themselves, which Node.js cannot overwrite.
 *
 * @param file its bytes; overwritten
 * @param passphrase asked when the file is encrypted, and overwritten; undefined when nobody gives one
 * @param claimed PEM or DER of the public key that it must be of, when one was given
 * @throws KeyFileError
 */
export async function readImportable(
  file: Buffer,
  passphrase: () => Promise<Buffer | undefined>,
  claimed?: Buffer,
): Promise<ImportableKey> {
  try {
    const { form, der } = keyInFile(file);
    try {
      if (form === 'plain') return keyIn(der, claimed);
      const plain = await decrypted(der, passphrase);
      try {
        return keyIn(plain, claimed);
      } finally {
        plain.fill(0);
      }
    } finally {
      der.fill(0);
    }
  } finally {
    file.fill(0);
  }
}

/** Overwrites what can be overwritten. */
export function destroyImportable({ pkcs8 }: ImportableKey): void {
  pkcs8.fill(0);
}

/**
 * DER SubjectPublicKeyInfo of a public key in PEM or DER, or of a certificate in PEM.
 * @throws KeyFileError `claim-malformed`
 */
export function claimedSpki(claimed: Buffer): Buffer {
  // what begins so is a private key, and has no place in an argument for a public one
  if (claimed.includes('PRIVATE KEY-----')) throw new KeyFileError('claim-malformed');
  try {
    const isDer = claimed[0] === TAG.sequence;
    const key = isDer
      ? createPublicKey({ key: claimed, format: 'der', type: 'spki' })
      : createPublicKey({ key: claimed, format: 'pem' });
    return key.export({ format: 'der', type: 'spki' });
  } catch (cause) {
    throw new KeyFileError('claim-malformed', undefined, { cause });
  }
}

/**
 * The specification of a public key in DER; undefined when there is none for it.
 * @throws KeyFileError `claim-malformed`
 */
export function specOfPublic(spki: Buffer): ImportableSpec | undefined {
  const { asymmetricKeyType, asymmetricKeyDetails } = publicKeyIn(spki);
  const curve = asymmetricKeyDetails?.namedCurve;
  return IMPORTABLE_SPECS.find((spec) => {
    const row = KEY_SPECS[spec];
    if ('modulusBits' in row)
      return asymmetricKeyType === 'rsa' && asymmetricKeyDetails?.modulusLength === row.modulusBits;
    return (
      asymmetricKeyType === 'ec' && (curve === row.curve || (curve === 'prime256v1' && spec === 'ec-p256'))
    );
  });
}

function publicKeyIn(spki: Buffer): KeyObject {
  try {
    return createPublicKey({ key: spki, format: 'der', type: 'spki' });
  } catch (cause) {
    throw new KeyFileError('claim-malformed', undefined, { cause });
  }
}

async function decrypted(der: Buffer, ask: () => Promise<Buffer | undefined>): Promise<Buffer> {
  const passphrase = await ask();
  if (passphrase === undefined) throw new KeyFileError('passphrase-missing');
  try {
    return await openPbes2(der, passphrase);
  } finally {
    passphrase.fill(0);
  }
}

/** PrivateKeyInfo (RFC 5208 section 5). */
function keyIn(der: Buffer, claimed: Buffer | undefined): ImportableKey {
  const outer = new DerReader(der);
  const info = outer.enter(TAG.sequence);
  outer.end('bytes-behind');
  if (info.small() !== 0) throw new KeyFileError('version-unknown');
  const algorithm = info.enter(TAG.sequence);
  const content = info.take(TAG.octets);
  // attributes, such as a name that Windows gives; they are no part of the key
  if (info.next === TAG.context0) info.take(TAG.context0);
  info.end();
  const key = keyOf(algorithm, content);
  try {
    if (claimed !== undefined && !sameBytes(claimedSpki(claimed), key.publicKey)) {
      throw new KeyFileError('claim-differs');
    }
    return key;
  } catch (error) {
    destroyImportable(key);
    throw error;
  }
}

function keyOf(algorithm: DerReader, content: Buffer): ImportableKey {
  switch (algorithm.take(TAG.oid).toString('hex')) {
    case OIDS.rsa:
      // NULL, or nothing (RFC 3279 section 2.3.1 against what some programs write)
      if (algorithm.next !== undefined && algorithm.take(TAG.null).length > 0) {
        throw new KeyFileError('der-malformed');
      }
      algorithm.end();
      return rsaKey(readRsaKey(content));
    case OIDS.ec:
      return ecKey(readEcKey(algorithm, content));
    default:
      throw new KeyFileError('algorithm-unsupported');
  }
}

/** RSAPrivateKey (RFC 8017 appendix A.1.2) in PrivateKeyInfo. */
function rsaKey({ spec, n, e, d, p, q, dp, dq, qInv }: RsaNumbers): ImportableKey {
  const numbers = [Buffer.of(0), n, e, d, p, q, dp, dq, qInv].map(integer);
  const key = joined(0x30, numbers);
  const algorithm = derValue(
    0x30,
    Buffer.concat([derValue(0x06, Buffer.from(OIDS.rsa, 'hex')), Buffer.of(5, 0)]),
  );
  const jwk = { kty: 'RSA', n: n.toString('base64url'), e: e.toString('base64url') };
  return { spec, publicKey: spkiOf(jwk), pkcs8: info(algorithm, key) };
}

/** ECPrivateKey (RFC 5915 section 3) without parameters and public key, in PrivateKeyInfo. */
function ecKey({ spec, curve, d, point }: EcNumbers): ImportableKey {
  const key = joined(0x30, [derInteger(Buffer.of(1)), derValue(0x04, d)]);
  d.fill(0);
  const oids = [OIDS.ec, curve.oid].map((oid) => derValue(0x06, Buffer.from(oid, 'hex')));
  const half = (point.length - 1) / 2;
  const [x, y] = [point.subarray(1, 1 + half), point.subarray(1 + half)];
  const jwk = { kty: 'EC', crv: curve.jwk, x: x.toString('base64url'), y: y.toString('base64url') };
  return { spec, publicKey: spkiOf(jwk), pkcs8: info(derValue(0x30, Buffer.concat(oids)), key) };
}

/** PrivateKeyInfo of version 0; `key` is overwritten. */
function info(algorithm: Buffer, key: Buffer): Buffer {
  const octets = derValue(0x04, key);
  key.fill(0);
  return joined(0x30, [derInteger(Buffer.of(0)), algorithm, octets]);
}

/** A value of these parts, which are overwritten. */
function joined(tag: number, parts: readonly Buffer[]): Buffer {
  const content = Buffer.concat(parts);
  for (const part of parts) part.fill(0);
  const value = derValue(tag, content);
  content.fill(0);
  return value;
}

/** The same as `derInteger`, of a number without leading zeros; what it is made of on the way is overwritten. */
function integer(number: Buffer): Buffer {
  const isHigh = ((number[0] ?? 0) & 0x80) !== 0;
  const content = Buffer.concat(isHigh ? [Buffer.of(0), number] : [number]);
  const value = derValue(0x02, content);
  content.fill(0);
  return value;
}

function spkiOf(jwk: Readonly<Record<string, string>>): Buffer {
  return createPublicKey({ key: jwk, format: 'jwk' }).export({ format: 'der', type: 'spki' });
}
