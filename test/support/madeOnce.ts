import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';

import { runDirectory } from './runDirectory.js';
import { letPass } from './waiting.js';

/**
 * A directory that `make` has filled, once in a run of tests: who asks for it first makes it, in whichever worker, and the
 * others wait. Nobody may change what is in it: it is there to be copied.
 */
export async function madeOnce(name: string, make: (into: string) => Promise<void>): Promise<string> {
  const place = runDirectory();
  const [made, making, lock] = [join(place, name), join(place, `${name}.new`), join(place, `${name}.lock`)];
  while (!existsSync(made)) {
    if (!isFirst(lock)) {
      await letPass(50);
      continue;
    }
    try {
      rmSync(making, { recursive: true, force: true });
      mkdirSync(making, { mode: 0o755 });
      await make(making);
      renameSync(making, made);
      return made;
    } catch (error) {
      rmSync(lock, { recursive: true });
      throw error;
    }
  }
  return made;
}

/** Whether nobody else makes it: a directory is made once. */
function isFirst(lock: string): boolean {
  try {
    mkdirSync(lock);
    return true;
  } catch {
    return false;
  }
}
