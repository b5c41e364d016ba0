import { copyFileSync, existsSync } from 'node:fs';
import { join } from 'node:path';

/**
 * OpenSC's pkcs11-spy, which writes down every call to the module that `PKCS11SPY` names: a copy in this directory.
 * A module that a process has loaded stays in it with all that it has read, and the spy reads where it writes to once: two
 * suites of one worker that loaded the same file would have one log between them, the first one's. Throws when it is not
 * installed.
 */
export function copySpyModule(directory: string): string {
  const places = ['x86_64-linux-gnu', 'aarch64-linux-gnu', '.'];
  const installed = places
    .map((place) => join('/usr/lib', place, 'pkcs11-spy.so'))
    .find((path) => existsSync(path));
  if (installed === undefined) throw new Error('pkcs11-spy.so is not there: install opensc-pkcs11');
  const copy = join(directory, 'pkcs11-spy.so');
  copyFileSync(installed, copy);
  return copy;
}
