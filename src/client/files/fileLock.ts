import { closeSync, openSync } from 'node:fs';

import koffi from 'koffi';

/** flock(2): LOCK_EX | LOCK_NB; the same numbers on Linux, macOS and the BSDs. */
const EXCLUSIVE_NOW = 2 | 4;

/**
 * Takes the lock of this file, which is made when it is not there, for as long as the process lives or until what is returned
 * is called. It is the kernel's own (flock), so that a process that is killed leaves none behind, and one that sleeps keeps
 * it. Undefined when another process, or another part of this one, has it. Not on Windows.
 *
 * @throws an error with a `code` when the file cannot be opened
 */
export function tryLock(path: string): (() => void) | undefined {
  const descriptor = openSync(path, 'a', 0o600);
  const flock: unknown = koffi.load(null).func('int flock(int descriptor, int operation)');
  const taken =
    typeof flock === 'function' && Reflect.apply(flock, undefined, [descriptor, EXCLUSIVE_NOW]) === 0;
  const release = (): void => {
    closeSync(descriptor);
  };
  if (taken) return release;
  release();
  return undefined;
}
