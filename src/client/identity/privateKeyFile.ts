import { type KeyObject, createPrivateKey } from 'node:crypto';
import { stat } from 'node:fs/promises';

import { TextError } from '../../log/entry/plainText.js';
import { codeOf, fileReason } from '../../system/errors.js';
import { IdentityError } from '../errors.js';
import { readTrustedText } from '../files/textFile.js';

/** Gives the passphrase of a file, from whoever knows it; undefined when nobody does. It is overwritten after use. */
export type AskPassphrase = (file: string) => Promise<Buffer | undefined>;

/**
 * Reads a private key in PEM: PKCS#8, the same under a passphrase (RFC 5958 section 3), or the form of before of an EC or RSA key, also
 * under a passphrase (RFC 1421 section 4.6). A file that others could read is not used: who knows who has it.
 * @throws IdentityError `key-missing`, `key-exposed`, `key-locked`, `key-malformed`
 */
export async function readPrivateKey(path: string, askPassphrase: AskPassphrase): Promise<KeyObject> {
  const pem = await readGuarded(path);
  if (!IS_LOCKED.test(pem)) return parse(pem, path, undefined);
  const passphrase = await askPassphrase(path);
  if (passphrase === undefined) {
    throw new IdentityError('key-locked', `${path} is under a passphrase, and nobody is there to give it`);
  }
  try {
    return parse(pem, path, passphrase);
  } finally {
    passphrase.fill(0);
  }
}

async function readGuarded(path: string): Promise<string> {
  try {
    const { mode } = await stat(path);
    if (process.platform !== 'win32' && (mode & 0o077) !== 0) {
      throw new IdentityError('key-exposed', `${path} can be read by others; chmod 600 it`);
    }
    return await readTrustedText(path);
  } catch (cause) {
    if (cause instanceof IdentityError || cause instanceof TextError) throw cause;
    throw new IdentityError('key-missing', `${path} cannot be read: ${fileReason(cause)}`, { cause });
  }
}

function parse(pem: string, path: string, passphrase: Buffer | undefined): KeyObject {
  try {
    return createPrivateKey({ key: pem, ...(passphrase === undefined ? {} : { passphrase }) });
  } catch (cause) {
    const code = codeOf(cause) ?? 'unknown';
    if (passphrase !== undefined && code === 'ERR_OSSL_BAD_DECRYPT')
      throw new IdentityError('key-locked', `the passphrase does not open ${path}`, { cause });
    throw new IdentityError('key-malformed', `${path} ${whatIsWrong(pem, code)}`, { cause });
  }
}

/** PKCS#8 under a passphrase, and the form of before. */
const IS_LOCKED = /-----BEGIN ENCRYPTED PRIVATE KEY-----|^Proc-Type: 4,ENCRYPTED/m;

/** What openssl makes a key of that is taken; it asks for the passphrases. */
const CONVERT = 'openssl pkcs8 -topk8 -scrypt -in FILE -out NEW';

/** Why a text is not a private key that opens: what it is instead, or in which way it is one. */
function whatIsWrong(pem: string, code: string): string {
  if (code.startsWith('ERR_OSSL_EVP_UNSUPPORTED') && IS_LOCKED.test(pem))
    return `is encrypted in a way that is not read here (RC2 and DES are not); the passphrase was not tried; convert it: ${CONVERT}, with -provider legacy -provider default`;
  const label = /-----BEGIN ([^-\r\n]+)-----/.exec(pem)?.[1];
  if (label === undefined)
    return `is not a private key in PEM: no line in it says -----BEGIN PRIVATE KEY-----`;
  if (label === 'OPENSSH PRIVATE KEY')
    return 'is a key of OpenSSH, which is not read here; convert a copy of it: ssh-keygen -p -m PKCS8 -f COPY';
  if (!label.endsWith('PRIVATE KEY')) return `is not a private key: it holds a ${label.toLowerCase()}`;
  if (!pem.includes(`-----END ${label}-----`)) return 'is cut off: the line that ends the key is missing';
  return IS_LOCKED.test(pem)
    ? `does not open: it is damaged, or the passphrase is another one (${code})`
    : `is damaged, or no private key in PEM (PKCS#8) that is known here (${code})`;
}
