import { readFile, stat } from 'node:fs/promises';

import { UsageError } from './failures.js';

/** A secret of one line in a file that only its owner can read. @throws UsageError */
export async function readSecretLine(file: string): Promise<Buffer> {
  const mode = await stat(file).then(
    (found) => found.mode,
    () => undefined,
  );
  if (mode === undefined) throw new UsageError(`${file} cannot be read`);
  if (process.platform !== 'win32' && (mode & 0o077) !== 0) {
    throw new UsageError(`${file} can be read by others`, `chmod 600 ${file}`);
  }
  const bytes = await readFile(file);
  const end = bytes.findIndex((byte) => byte === 0x0a || byte === 0x0d);
  const line = end < 0 ? bytes : bytes.subarray(0, end);
  if (line.length === 0) throw new UsageError(`${file} is empty`);
  return line;
}
