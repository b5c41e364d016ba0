import { randomBytes } from 'node:crypto';
import { link, lstat, open, rename, rm, type FileHandle } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

import { codeOf } from './errors.js';

/** Ends the name of a file that is not whole yet; one that is left was somebody's who was killed. */
export const DRAFT = /\.[0-9a-f]{12}\.new$/;

/** The name of a draft of a file, beside it; nobody else has it. */
export function newDraft(path: string): string {
  // names have 255 bytes at most
  const name = basename(path);
  const begins = Buffer.byteLength(name) > 230 ? 'escrowd' : name;
  return join(dirname(path), `${begins}.${randomBytes(6).toString('hex')}.new`);
}

/**
 * Makes a file so that readers, and a crash at any instant, see the old content or the new, never a part of it. When it
 * resolves, the content is durable; when `write` throws, nothing has changed.
 * @param mode permissions of the new file, e.g. 0o600, of which the umask may take some
 */
export async function writeWhole<T>(
  path: string,
  mode: number,
  write: (file: FileHandle) => Promise<T>,
): Promise<T> {
  return withDraft(path, mode, write, (draft) => rename(draft, path));
}

/** {@link writeWhole} of what is at hand. */
export async function replaceFile(path: string, content: string | Uint8Array, mode: number): Promise<void> {
  await writeWhole(path, mode, (file) => file.writeFile(content));
}

/**
 * Creates `path` whole and durable, or leaves the one that is there: of several callers at once one creates it, and all
 * then read the same.
 */
export async function createOnce(path: string, content: string, mode: number): Promise<void> {
  const create = (draft: string): Promise<void> =>
    link(draft, path).catch((error: unknown) => {
      if (codeOf(error) !== 'EEXIST') throw error;
    });
  await withDraft(path, mode, (file) => file.writeFile(content), create);
}

/**
 * Writes a file that must not exist yet, durably; when that fails there is none.
 * @throws an error with code `EEXIST` when it exists
 */
export async function writeNewFile(path: string, content: string | Uint8Array, mode: number): Promise<void> {
  await writeDurably(path, mode, (file) => file.writeFile(content));
}

/** Whether there is anything at `path`. Other errors than its absence are thrown: they say nothing about it. */
export async function exists(path: string): Promise<boolean> {
  try {
    await lstat(path);
    return true;
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return false;
    throw error;
  }
}

/** Makes the names in a directory (what was made, renamed or linked there) durable, where the system can (POSIX). */
export async function syncDirectory(path: string): Promise<void> {
  if (process.platform === 'win32') return;
  const directory = await open(path, 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

async function withDraft<T>(
  path: string,
  mode: number,
  write: (file: FileHandle) => Promise<T>,
  place: (draft: string) => Promise<void>,
): Promise<T> {
  const draft = newDraft(path);
  try {
    const result = await writeDurably(draft, mode, write);
    await place(draft);
    await syncDirectory(dirname(path));
    return result;
  } finally {
    await rm(draft, { force: true });
  }
}

async function writeDurably<T>(
  path: string,
  mode: number,
  write: (file: FileHandle) => Promise<T>,
): Promise<T> {
  const file = await open(path, 'wx', mode);
  try {
    const result = await write(file);
    await file.sync();
    await file.close();
    return result;
  } catch (error) {
    // a part of it would stop the next try, and could be taken for the whole
    await file.close().catch(() => undefined);
    await rm(path, { force: true });
    throw error;
  }
}
