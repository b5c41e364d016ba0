import { type KeyObject, createPrivateKey } from 'node:crypto';
import { stat } from 'node:fs/promises';

import { decodeText, TextError } from '../../log/entry/plainText.js';
import { IdentityError } from '../errors.js';
import { readTrustedFile } from '../files/trustedFile.js';

/** Gives the passphrase of a file, from whoever knows it; undefined when nobody does. It is overwritten after use. */
export type AskPassphrase = (file: string) => Promise<Buffer | undefined>;

/**
 * Reads a private key in PEM: PKCS#8, or PKCS#8 under a passphrase (RFC 5958 section 3). A file that others could read is
 * not used: who knows who has it.
 * @throws IdentityError `key-missing`, `key-exposed`, `key-locked`, `key-malformed`
 */
export async function readPrivateKey(path: string, askPassphrase: AskPassphrase): Promise<KeyObject> {
  const pem = await readGuarded(path);
  if (!pem.includes('-----BEGIN ENCRYPTED PRIVATE KEY-----')) return parse(pem, path, undefined);
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
    return decodeText(await readTrustedFile(path), path);
  } catch (cause) {
    if (cause instanceof IdentityError || cause instanceof TextError) throw cause;
    throw new IdentityError('key-missing', `${path} cannot be read`, { cause });
  }
}

function parse(pem: string, path: string, passphrase: Buffer | undefined): KeyObject {
  try {
    return createPrivateKey({ key: pem, ...(passphrase === undefined ? {} : { passphrase }) });
  } catch (cause) {
    if (passphrase !== undefined) {
      throw new IdentityError('key-locked', `the passphrase does not open ${path}`, { cause });
    }
    throw new IdentityError('key-malformed', `${path} is not a private key in PEM (PKCS#8)`, { cause });
  }
}
