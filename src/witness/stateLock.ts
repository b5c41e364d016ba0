import { join } from 'node:path';

import { tryLock } from '../client/files/fileLock.js';
import { WitnessFault } from './errors.js';

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
  const release = locked(path);
  if (release === undefined)
    throw new WitnessFault('witness-in-use', `another witness serves from ${directory}`);
  return release;
}

function locked(path: string): (() => void) | undefined {
  try {
    return tryLock(path);
  } catch (cause) {
    throw new WitnessFault('witness-state', `${path} cannot be opened`, { cause });
  }
}
