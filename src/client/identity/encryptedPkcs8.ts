import { type KeyObject, createCipheriv, randomBytes, scrypt } from 'node:crypto';
import { promisify } from 'node:util';

import { derInteger, derValue } from '../../system/der.js';

/**
 * Cost of a guess at a passphrase: 16 MiB of memory, five times over. OpenSSL reads it within its default limit of
 * 32 MiB.
 */
const SCRYPT = { N: 16_384, r: 8, p: 5 } as const;
const KEY_BYTES = 32;

const OID_PBES2 = Buffer.from('06092a864886f70d01050d', 'hex');
const OID_SCRYPT = Buffer.from('06092b06010401da47040b', 'hex');
const OID_AES_256_CBC = Buffer.from('060960864801650304012a', 'hex');

const derive = promisify<string | Buffer, Buffer, number, typeof SCRYPT, Buffer>(scrypt);

/**
 * A private key as EncryptedPrivateKeyInfo in PEM (RFC 5958 section 3, RFC 7468 section 11): PBES2 (RFC 8018 section 6.2)
 * with scrypt (RFC 7914 section 7.1) and AES-256-CBC. openssl and Node.js open it with the passphrase.
 */
export async function encryptedPem(key: KeyObject, passphrase: Buffer): Promise<string> {
  const salt = randomBytes(16);
  const iv = randomBytes(16);
  const secret = await derive(passphrase, salt, KEY_BYTES, SCRYPT);
  const plain = key.export({ format: 'der', type: 'pkcs8' });
  try {
    const cipher = createCipheriv('aes-256-cbc', secret, iv);
    const encrypted = Buffer.concat([cipher.update(plain), cipher.final()]);
    const { N, r, p } = SCRYPT;
    const kdf = sequence(
      OID_SCRYPT,
      sequence(octets(salt), integer(N), integer(r), integer(p), integer(KEY_BYTES)),
    );
    const algorithm = sequence(OID_PBES2, sequence(kdf, sequence(OID_AES_256_CBC, octets(iv))));
    return pem(sequence(algorithm, octets(encrypted)));
  } finally {
    plain.fill(0);
    secret.fill(0);
  }
}

function pem(der: Buffer): string {
  const lines = der.toString('base64').match(/.{1,64}/g) ?? [];
  const label = 'ENCRYPTED PRIVATE KEY';
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`;
}

const sequence = (...parts: readonly Buffer[]): Buffer => derValue(0x30, Buffer.concat(parts));
const octets = (bytes: Buffer): Buffer => derValue(0x04, bytes);

function integer(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return derInteger(bytes);
}
