import { closeSync, openSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';

import koffi from 'koffi';

import { backOffMs } from '../../system/backOff.js';
import { IdentityError } from '../errors.js';

/** flock(2): LOCK_EX | LOCK_NB; the same numbers on Linux, macOS and the BSDs. */
const EXCLUSIVE_NOW = 2 | 4;

type Flock = (descriptor: number, operation: number) => number;

/** Bound at the first use, since binding it costs more than calling it. */
let flock: Flock | undefined;

/**
 * Takes the lock of this file, which is made when it is not there, for as long as the process lives or until what is returned
 * is called. It is the kernel's own (flock), so that a process that is killed leaves none behind, and one that sleeps keeps
 * it. Undefined when another process, or another part of this one, has it. Not on Windows.
 *
 * @throws an error with a `code` when the file cannot be opened
 */
export function tryLock(path: string): (() => void) | undefined {
  const descriptor = openSync(path, 'a', 0o600);
  flock ??= koffi.load(null).func('int flock(int descriptor, int operation)') as Flock;
  const taken = flock(descriptor, EXCLUSIVE_NOW) === 0;
  const release = (): void => {
    closeSync(descriptor);
  };
  if (taken) return release;
  release();
  return undefined;
}

/** How long other clients may take to write a small file, where nothing else is said. */
export const LOCK_WAIT_MS = 10_000;
/** How often it is looked for: many who wait must leave time to the one who writes. */
const RETRIES = { firstMs: 5, longestMs: 100 } as const;

/**
 * Takes the same lock, waiting for it: to be held for a read and a write only. Windows has no such lock: there, two clients at once
 * may forget what one of them saw.
 *
 * @throws IdentityError `state-busy`
 */
export async function holdFileLock(path: string, waitMs = LOCK_WAIT_MS): Promise<() => void> {
  if (process.platform === 'win32') return () => undefined;
  const deadline = performance.now() + waitMs;
  for (let failures = 1; ; failures += 1) {
    const release = tryLock(path);
    if (release !== undefined) return release;
    if (performance.now() > deadline)
      throw new IdentityError('state-busy', `another process holds ${path} for longer than it should`);
    await pause(backOffMs(failures, RETRIES));
  }
}
