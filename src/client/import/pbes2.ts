import { createDecipheriv, pbkdf2, scrypt } from 'node:crypto';
import { promisify } from 'node:util';

import { DerReader, TAG } from './derReader.js';
import { KeyFileError } from './keyFileError.js';

/** Object identifiers, as hexadecimal of their content. */
const PBES2 = '2a864886f70d01050d';
const SCRYPT = '2b06010401da47040b';
const PBKDF2 = '2a864886f70d01050c';

/** Pseudo-random functions of PBKDF2 (RFC 8018 appendix B.1). HMAC with SHA-1 is what is meant when none is named. */
const HASHES: Readonly<Record<string, string>> = {
  '2a864886f70d0207': 'sha1',
  '2a864886f70d0208': 'sha224',
  '2a864886f70d0209': 'sha256',
  '2a864886f70d020a': 'sha384',
  '2a864886f70d020b': 'sha512',
};

const CIPHERS: Readonly<Record<string, { readonly name: string; readonly keyBytes: number } | undefined>> = {
  '608648016503040102': { name: 'aes-128-cbc', keyBytes: 16 },
  '608648016503040116': { name: 'aes-192-cbc', keyBytes: 24 },
  '60864801650304012a': { name: 'aes-256-cbc', keyBytes: 32 },
  '2a864886f70d0307': { name: 'des-ede3-cbc', keyBytes: 24 },
};

/** A file may ask for so much and no more: 1 GiB of memory, ten million rounds. */
const MOST_MEMORY_BYTES = 1 << 30;
const MOST_ITERATIONS = 10_000_000;

const deriveByScrypt = promisify<
  Buffer,
  Buffer,
  number,
  { readonly N: number; readonly r: number; readonly p: number; readonly maxmem: number },
  Buffer
>(scrypt);
const deriveByPbkdf2 = promisify(pbkdf2);

/**
 * Opens EncryptedPrivateKeyInfo (RFC 5208 section 6) under PBES2 (RFC 8018 section 6.2), with scrypt (RFC 7914 section 7) or
 * PBKDF2. The passphrase is not changed.
 * @returns PrivateKeyInfo, as it was encrypted; to be overwritten by the caller
 * @throws KeyFileError `der-malformed`, `bytes-behind`, `encryption-unknown`, `passphrase-wrong`
 */
export async function openPbes2(der: Buffer, passphrase: Buffer): Promise<Buffer> {
  const { derive, cipher, iv, encrypted } = readScheme(der);
  const key = await derive(passphrase, cipher.keyBytes);
  try {
    const decipher = createDecipheriv(cipher.name, key, iv);
    const [first, last] = [decipher.update(encrypted), decipher.final()];
    const plain = Buffer.concat([first, last]);
    for (const part of [first, last]) part.fill(0);
    // one wrong passphrase in 256 leaves what looks like padding
    const opened = new DerReader(plain);
    opened.take(TAG.sequence);
    opened.end();
    return plain;
  } catch (cause) {
    throw new KeyFileError('passphrase-wrong', undefined, { cause });
  } finally {
    key.fill(0);
  }
}

type Derive = (passphrase: Buffer, keyBytes: number) => Promise<Buffer>;

function readScheme(der: Buffer): {
  readonly derive: Derive;
  readonly cipher: { readonly name: string; readonly keyBytes: number };
  readonly iv: Buffer;
  readonly encrypted: Buffer;
} {
  const outer = new DerReader(der);
  const info = outer.enter(TAG.sequence);
  outer.end('bytes-behind');
  const algorithm = info.enter(TAG.sequence);
  const encrypted = info.take(TAG.octets);
  info.end();
  if (oidOf(algorithm) !== PBES2) throw new KeyFileError('encryption-unknown');
  const schemes = algorithm.enter(TAG.sequence);
  const [kdf, scheme] = [schemes.enter(TAG.sequence), schemes.enter(TAG.sequence)];
  const cipher = CIPHERS[oidOf(scheme)];
  if (cipher === undefined) throw new KeyFileError('encryption-unknown');
  const iv = scheme.take(TAG.octets);
  return { derive: readKdf(kdf, cipher.keyBytes), cipher, iv, encrypted };
}

function readKdf(kdf: DerReader, keyBytes: number): Derive {
  const which = oidOf(kdf);
  const parameters = kdf.enter(TAG.sequence);
  if (which === SCRYPT) return readScrypt(parameters, keyBytes);
  if (which === PBKDF2) return readPbkdf2(parameters, keyBytes);
  throw new KeyFileError('encryption-unknown');
}

/** scrypt-params (RFC 7914 section 7.1). */
function readScrypt(parameters: DerReader, keyBytes: number): Derive {
  const salt = parameters.take(TAG.octets);
  const [N, r, p] = [parameters.small(), parameters.small(), parameters.small()];
  if (parameters.next === TAG.integer) requireLength(parameters.small(), keyBytes);
  parameters.end();
  const memory = 128 * r * (N + p + 2);
  const isPowerOf2 = N > 1 && Number.isInteger(Math.log2(N));
  if (!isPowerOf2 || r === 0 || p === 0 || memory > MOST_MEMORY_BYTES || r * p > 1024) {
    throw new KeyFileError(
      'encryption-unknown',
      'The file asks for more work than is done for a passphrase.',
    );
  }
  return (passphrase, length) => deriveByScrypt(passphrase, salt, length, { N, r, p, maxmem: memory + 1024 });
}

/** PBKDF2-params (RFC 8018 appendix A.2). */
function readPbkdf2(parameters: DerReader, keyBytes: number): Derive {
  const salt = parameters.take(TAG.octets);
  const iterations = parameters.small();
  if (parameters.next === TAG.integer) requireLength(parameters.small(), keyBytes);
  const named = parameters.next === TAG.sequence ? oidOf(parameters.enter(TAG.sequence)) : undefined;
  parameters.end();
  const digest = named === undefined ? 'sha1' : HASHES[named];
  if (digest === undefined) throw new KeyFileError('encryption-unknown');
  if (iterations < 1 || iterations > MOST_ITERATIONS) {
    throw new KeyFileError(
      'encryption-unknown',
      'The file asks for more work than is done for a passphrase.',
    );
  }
  return (passphrase, length) => deriveByPbkdf2(passphrase, salt, iterations, length, digest);
}

function requireLength(said: number, keyBytes: number): void {
  if (said !== keyBytes) throw new KeyFileError('encryption-unknown');
}

function oidOf(reader: DerReader): string {
  return reader.take(TAG.oid).toString('hex');
}
