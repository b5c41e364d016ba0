import { open, rename, rm, stat, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';

import { fileReason } from '../../system/errors.js';
import { newDraft, syncDirectory } from '../../system/files.js';
import { placeOf, UnusablePlace } from '../../system/place.js';
import { CeremonyRefused } from './ceremonySession.js';
import type { CeremonyRecord } from './record.js';

/** A record has some 20 KB, and 2 KB more for each depositary. */
const RESERVED_BYTES = 64 * 1024;

/** Refuses, before any PIN is asked for, a place where no record can be written. Throws {@link CeremonyRefused}. */
export function requireRecordPlace(file: string): void {
  try {
    placeOf(dirname(file));
  } catch (error) {
    if (!(error instanceof UnusablePlace)) throw error;
    throw new CeremonyRefused(`The record ${file} cannot be written: ${error.message}; ${error.remedy}.`, {
      cause: error,
    });
  }
}

/**
 * Does what changes a token, and writes the record that comes of it to `file`, whole and durably. What is done to a token cannot be
 * undone, so room for the record is taken on the disk first: when there is none, nothing is done. When the record cannot be
 * written all the same, it is told by `print`.
 *
 * @throws CeremonyRefused when it cannot be written; what `work` throws
 */
export async function recording(
  file: string,
  print: (text: string) => void,
  work: () => Promise<CeremonyRecord>,
): Promise<CeremonyRecord> {
  const draft = newDraft(file);
  const reserved = await reserve(file, draft);
  try {
    const record = await work();
    const text = `${JSON.stringify(record, null, 2)}\n`;
    try {
      await fill(reserved, text);
      await rename(draft, file);
      await syncDirectory(dirname(file));
    } catch (error) {
      print(text);
      throw new CeremonyRefused(
        `The token was changed, and the record ${file} could not be written: ${fileReason(error)}. What belongs into it was printed, and is had nowhere else: keep it.`,
        { cause: error },
      );
    }
    return record;
  } finally {
    await reserved.close().catch(() => undefined);
    await rm(draft, { force: true }).catch(() => undefined);
  }
}

async function reserve(file: string, draft: string): Promise<FileHandle> {
  let reserved: FileHandle | undefined;
  try {
    const before = await stat(file).then(
      ({ size }) => size,
      () => 0,
    );
    reserved = await open(draft, 'wx', 0o644);
    // not zeros, which some file systems do not keep
    await reserved.writeFile(Buffer.alloc(RESERVED_BYTES + 2 * before, ' '));
    await reserved.sync();
    return reserved;
  } catch (error) {
    await reserved?.close();
    await rm(draft, { force: true });
    throw new CeremonyRefused(
      `The record ${file} cannot be written: ${fileReason(error)}. Nothing was done to the token.`,
      { cause: error },
    );
  }
}

/** Over what was reserved, whose room it takes. */
async function fill(reserved: FileHandle, text: string): Promise<void> {
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length;)
    at += (await reserved.write(bytes, at, bytes.length - at, at)).bytesWritten;
  await reserved.truncate(bytes.length);
  await reserved.sync();
}
