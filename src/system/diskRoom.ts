import { closeSync, constants, openSync, statfsSync, writeSync } from 'node:fs';

import { codeOf } from './errors.js';

/** open(2): a file without a name, of which nothing stays, whoever ends when. Node has no name for it. */
const O_TMPFILE = 0o20_000_000 | constants.O_DIRECTORY;
/** A small file with its directory entry, in blocks of 4 KB. */
const TRIED_BYTES = 16 * 1024;

const FULL: ReadonlySet<string> = new Set(['ENOSPC', 'EDQUOT']);

/**
 * Whether this user can write no more to the file system of a directory, because it is full or a quota is used up: tried with a file
 * that has no name. Where the system knows none, only what statfs(2) says is known. What cannot be tried is not called full.
 */
export function isFull(
  directory: string,
  write: (file: number, bytes: Buffer) => number = writeSync,
): boolean {
  let file: number | undefined;
  try {
    file = openSync(directory, O_TMPFILE | constants.O_WRONLY, 0o600);
    for (let left = TRIED_BYTES; left > 0;) left -= write(file, Buffer.alloc(left));
    return false;
  } catch (error) {
    return FULL.has(codeOf(error) ?? '') || (file === undefined && hasNoBlocks(directory));
  } finally {
    if (file !== undefined) closeSync(file);
  }
}

function hasNoBlocks(directory: string): boolean {
  try {
    const { bsize, bavail, files, ffree } = statfsSync(directory);
    return bsize * bavail < TRIED_BYTES || (files > 0 && ffree === 0);
  } catch {
    return false;
  }
}
