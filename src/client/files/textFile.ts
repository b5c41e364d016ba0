import { decodeText, TextError } from '../../log/entry/plainText.js';
import { readBounded } from '../../system/boundedFile.js';
import { fileReason } from '../../system/errors.js';
import { type IdentityFault, IdentityError } from '../errors.js';
import { readTrustedFile } from './trustedFile.js';

/**
 * A text file that somebody wrote or saved: UTF-8 in NFC, without its byte order mark; nothing in it is guessed.
 * @throws TextError; an error of the system with `code` and `path`
 */
export async function readTextFile(path: string): Promise<string> {
  return decodeText(await readBounded(path), path);
}

/** The same of a file that says whom and what to believe. @throws IdentityError `identity-exposed` besides */
export async function readTrustedText(path: string): Promise<string> {
  return decodeText(await readTrustedFile(path), path);
}

/** The same of a file of an identity: that it cannot be read is said with the reason, as this fault. @throws IdentityError, TextError */
export async function readOwnText(path: string, missing: IdentityFault): Promise<string> {
  try {
    return await readTrustedText(path);
  } catch (cause) {
    if (cause instanceof IdentityError || cause instanceof TextError) throw cause;
    throw new IdentityError(missing, `${path} cannot be read: ${fileReason(cause)}`, { cause });
  }
}
