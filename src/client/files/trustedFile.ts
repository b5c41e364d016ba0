import { stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';

import { readBounded } from '../../system/boundedFile.js';
import { trustedUsers } from '../../system/users.js';
import { IdentityError } from '../errors.js';

/** Group and others may write. */
const WRITABLE = 0o022;
/** In a directory with this bit, only owners rename and delete their files. */
const STICKY = 0o1000;

/**
 * Reads a file that says whom and what to believe. Who could write it, or put another in its place, could say so instead: so the
 * file and every directory above it must be writable by their owner only (a sticky directory, such as /tmp, aside), who is
 * one of {@link trustedUsers}. As ssh has it with `StrictModes`; on Windows nothing is checked.
 *
 * @throws IdentityError `identity-exposed`; an error with a `code` when the file cannot be read
 */
export async function readTrustedFile(path: string): Promise<Buffer> {
  await refuseExposed(path);
  return readBounded(path);
}

/** @throws IdentityError `identity-exposed`; an error with a `code` when there is no such file */
export async function refuseExposed(path: string): Promise<void> {
  if (process.platform === 'win32') return;
  const users = trustedUsers();
  for (let at = resolve(path), isFile = true; ; at = dirname(at), isFile = false) {
    const { mode, uid } = await stat(at);
    const isSafe = (mode & WRITABLE) === 0 || (!isFile && (mode & STICKY) !== 0);
    if (!isSafe)
      throw new IdentityError(
        'identity-exposed',
        `${at} can be written by others${isFile ? '' : `, and ${path} lies in it`}; see who has, then: chmod go-w ${at}`,
      );
    if (!users.has(uid))
      throw new IdentityError(
        'identity-exposed',
        `${at} belongs to another user (${uid}), who can change it`,
      );
    if (at === dirname(at)) return;
  }
}
