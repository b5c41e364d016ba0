import { closeSync, constants, fstatSync, openSync, readSync, statSync, type Stats } from 'node:fs';

import { codeOf, messageOf } from './errors.js';

/** A file that somebody named cannot be read; `message` is why, and `remedy` what to do about it: a clause each. */
export class UnreadableFile extends Error {
  override readonly name = 'UnreadableFile';

  constructor(
    message: string,
    readonly remedy: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** What a file has, and its mode as it was when it was opened. */
export interface NamedFile {
  readonly bytes: Buffer;
  readonly mode: number;
}

/** Nothing that people write for a daemon is longer. */
const MAXIMUM_BYTES = 1024 * 1024;

/**
 * Reads a file that somebody named, whole. Waits for nobody: what is no regular file, such as a pipe that nobody writes to, is
 * refused without being read, and so is one of more bytes than `maximumBytes`.
 *
 * @throws UnreadableFile
 */
export function readNamedFile(path: string, maximumBytes = MAXIMUM_BYTES): NamedFile {
  let file: number | undefined;
  try {
    // a device may do something when it is opened
    requireRegular(statSync(path), maximumBytes);
    file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const stats = fstatSync(file);
    requireRegular(stats, maximumBytes);
    return { bytes: readUpTo(file, maximumBytes), mode: stats.mode };
  } catch (error) {
    throw error instanceof UnreadableFile ? error : unreadable(error);
  } finally {
    if (file !== undefined) closeSync(file);
  }
}

function requireRegular(stats: Stats, maximumBytes: number): void {
  if (!stats.isFile()) throw new UnreadableFile(`it is ${kindOf(stats)}`, 'name a regular file');
  if (stats.size > maximumBytes) throw tooLarge(maximumBytes);
}

/** A file of the system may be longer than it says. */
function readUpTo(file: number, maximumBytes: number): Buffer {
  const parts: Buffer[] = [];
  let length = 0;
  for (;;) {
    const part = Buffer.allocUnsafe(65_536);
    const read = readSync(file, part, 0, part.length, null);
    if (read === 0) break;
    length += read;
    if (length > maximumBytes) throw tooLarge(maximumBytes);
    parts.push(part.subarray(0, read));
  }
  const whole = Buffer.concat(parts, length);
  // it may have been a secret
  for (const part of parts) part.fill(0);
  return whole;
}

function tooLarge(maximumBytes: number): UnreadableFile {
  return new UnreadableFile(`it has more than ${maximumBytes} bytes`, 'see whether it is the right file');
}

function kindOf(stats: Stats): string {
  if (stats.isDirectory()) return 'a directory';
  if (stats.isFIFO()) return 'a pipe';
  if (stats.isSocket()) return 'a socket';
  return 'a device';
}

const WHY: Readonly<Record<string, readonly [what: string, remedy: string]>> = {
  ENOENT: ['it is not there', 'put it there, or name another file'],
  ENOTDIR: ['it is not there', 'put it there, or name another file'],
  EACCES: ['the user of this program may not read it', 'let that user read it, and enter its directory'],
  EPERM: ['the user of this program may not read it', 'let that user read it, and enter its directory'],
  ELOOP: ['its links lead round in a circle', 'name the file itself'],
  ENAMETOOLONG: ['its name is longer than the system allows', 'name another file'],
};

function unreadable(cause: unknown): UnreadableFile {
  const [what, remedy] = WHY[codeOf(cause) ?? ''] ?? [messageOf(cause), 'see what has become of it'];
  return new UnreadableFile(what, remedy, { cause });
}
