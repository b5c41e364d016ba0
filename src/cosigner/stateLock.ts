import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';

import koffi from 'koffi';

import { WitnessFault } from './errors.js';

/** flock(2): LOCK_EX | LOCK_NB; the same numbers on Linux, macOS and the BSDs. */
const EXCLUSIVE_NOW = 2 | 4;

/**
 * Takes the lock of a state directory, for as long as this process lives or until what is returned is called. It is
 * the kernel's own (flock), so that a process that is killed leaves none behind, and no clean-up can go wrong.
 *
 * @throws WitnessFault `witness-in-use` when another process, or another witness in this one, has it; `witness-state`
 *   where there is no such lock (Windows) or the directory cannot be written.
 */
export function lockState(directory: string): () => void {
  if (process.platform === 'win32') {
    throw new WitnessFault(
      'witness-state',
      'a witness cannot lock its state on Windows, and does not run there',
    );
  }
  const path = join(directory, 'lock');
  const descriptor = opened(path);
  const libc = koffi.load(null);
  const flock: unknown = libc.func('int flock(int descriptor, int operation)');
  const taken =
    typeof flock === 'function' && Reflect.apply(flock, undefined, [descriptor, EXCLUSIVE_NOW]) === 0;
  if (!taken) {
    closeSync(descriptor);
    throw new WitnessFault('witness-in-use', `another witness serves from ${directory}`);
  }
  return () => {
    closeSync(descriptor);
  };
}

function opened(path: string): number {
  try {
    return openSync(path, 'a', 0o600);
  } catch (cause) {
    throw new WitnessFault('witness-state', `${path} cannot be opened`, { cause });
  }
}
