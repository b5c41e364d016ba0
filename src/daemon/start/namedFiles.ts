import { isUtf8 } from 'node:buffer';
import { dirname, resolve } from 'node:path';

import { decodeText } from '../../log/entry/plainText.js';
import { messageOf } from '../../system/errors.js';
import { type NamedFile, readNamedFile, UnreadableFile } from '../../system/namedFile.js';
import { ConfigError } from './configError.js';

/**
 * Reads a text that people wrote: UTF-8 in NFC, of which a byte order mark is left out.
 *
 * @param remedy what to do when it is no such text: a clause
 * @param where how the file is called; its path, when it is not given
 * @throws ConfigError
 */
export function readText(file: string, remedy: string, where = file): string {
  const { bytes } = read(file, where);
  try {
    return decodeText(bytes, file);
  } catch (error) {
    throw new ConfigError([{ where, what: messageOf(error), do: remedy }], { cause: error });
  }
}

const BYTE_ORDER_MARK = Buffer.from('\uFEFF');

/**
 * Reads a secret of one line, without its end and without a byte order mark. Only its owner may be able to read the file. Of a
 * credential of systemd the bits of the group are the mask of the access list by which the service's user reads it (acl(5)), and not
 * a group's.
 *
 * @param credentials the directory of systemd's credentials for this service (systemd.exec(5)), where there is one
 * @throws ConfigError when it cannot be read, is empty, has several lines, is not UTF-8, or others may read it.
 */
export function readSecretFile(
  file: string,
  credentials: string | undefined = process.env['CREDENTIALS_DIRECTORY'],
): Buffer {
  const refused = (what: string, remedy: string): ConfigError =>
    new ConfigError([{ where: file, what, do: remedy }]);
  const { bytes, mode } = read(file, file);
  const isCredential = credentials !== undefined && dirname(resolve(file)) === resolve(credentials);
  if ((mode & (isCredential ? 0o037 : 0o077)) !== 0)
    throw refused('it can be read by others than its owner', `run: chmod 600 ${file}`);
  const start = bytes.subarray(0, BYTE_ORDER_MARK.length).equals(BYTE_ORDER_MARK)
    ? BYTE_ORDER_MARK.length
    : 0;
  let end = bytes.length;
  while (end > start && (bytes[end - 1] === 0x0a || bytes[end - 1] === 0x0d)) end -= 1;
  const secret = bytes.subarray(start, end);
  if (secret.length === 0) throw refused('it is empty', 'write the secret into it, one line');
  if (!isUtf8(secret)) throw refused('it is not UTF-8', 'write the secret into it as UTF-8, one line');
  if (secret.includes(0x0a)) throw refused('it has several lines', 'leave one line in it, the secret');
  return secret;
}

function read(file: string, where: string): NamedFile {
  try {
    return readNamedFile(file);
  } catch (error) {
    if (!(error instanceof UnreadableFile)) throw error;
    const { message, remedy } = error;
    throw new ConfigError([{ where, what: `it cannot be read: ${message}`, do: remedy }], { cause: error });
  }
}
