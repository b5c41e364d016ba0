import { stat } from 'node:fs/promises';

import { readBounded } from '../system/boundedFile.js';
import { fileReason } from '../system/errors.js';
import { UsageError } from './failures.js';

const BOM = Buffer.from([0xef, 0xbb, 0xbf]);
const MOST_BYTES = 64 * 1024;

/**
 * A secret of one line in a file that only its owner can read, without a byte order mark: to be overwritten, as the rest of the file is.
 * @throws UsageError
 */
export async function readSecretLine(file: string): Promise<Buffer> {
  const cannot = (cause: unknown): never => {
    throw new UsageError(`${file} cannot be read: ${fileReason(cause)}`);
  };
  const { mode } = await stat(file).catch(cannot);
  if (process.platform !== 'win32' && (mode & 0o077) !== 0) {
    throw new UsageError(`${file} can be read by others`, `chmod 600 ${file}`);
  }
  const read = await readBounded(file, MOST_BYTES).catch(cannot);
  // some editors begin a text with a byte order mark; no secret does
  const bytes = read.subarray(0, BOM.length).equals(BOM) ? read.subarray(BOM.length) : read;
  const end = bytes.findIndex((byte) => byte === 0x0a || byte === 0x0d);
  if (end >= 0) bytes.fill(0, end);
  const line = end < 0 ? bytes : bytes.subarray(0, end);
  if (line.length === 0) throw new UsageError(`${file} is empty`);
  return line;
}
