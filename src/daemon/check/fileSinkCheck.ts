import { accessSync, constants, lstatSync } from 'node:fs';
import { dirname } from 'node:path';

import type { Config } from '../config.js';
import { fileReason } from '../../system/errors.js';
import { cautionsOf, type FileSystem, placeOf, roomAt, UnusablePlace } from '../../system/place.js';
import type { Findings } from './findings.js';

const WANTED_BYTES = 4 * 1024 * 1024;

/** Looks whether notices can be appended to the file that is configured. That they cannot keeps nobody from starting. */
export function checkFileSink(
  { notifications: { file } }: Config,
  findings: Findings,
  fileSystemAt?: (path: string) => FileSystem,
): void {
  if (file === undefined) return;
  const warn = (what: string, remedy: string): void => {
    findings.add('warning', {
      code: 'sink',
      where: `notifications.file: ${file.path}`,
      what,
      do: remedy,
    });
  };
  try {
    const present = lstatSync(file.path, { throwIfNoEntry: false });
    if (present === undefined && lstatSync(dirname(file.path), { throwIfNoEntry: false }) === undefined) {
      warn('its directory is not there', 'make that directory, or name another file');
      return;
    }
    if (present !== undefined && !present.isFile()) {
      const kind = present.isSymbolicLink() ? 'a link, which is not followed' : 'no regular file';
      warn(`it cannot be written: it is ${kind}`, 'name a file, or a place where there is none yet');
      return;
    }
    if (present !== undefined) accessSync(file.path, constants.R_OK | constants.W_OK);
    const place =
      present === undefined ? placeOf(dirname(file.path), fileSystemAt) : roomAt(file.path, fileSystemAt);
    for (const { what, remedy } of cautionsOf(place, WANTED_BYTES)) warn(what, remedy);
  } catch (error) {
    if (error instanceof UnusablePlace) warn(`it cannot be written: ${error.message}`, error.remedy);
    else
      warn(
        `it cannot be written: ${fileReason(error)}`,
        'name a file, or a place for one, that the user of the daemon can write',
      );
  }
}
