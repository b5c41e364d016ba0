import { setTimeout as pause } from 'node:timers/promises';

/**
 * How long is waited for what takes moments on an idle machine. Nothing is proven by how fast it is, and a machine that is
 * busy with other things may take its time.
 */
const PATIENCE_MS = 60_000;
/** Before the limit of a test or hook: it is to fail by what it waited for, and not by its limit. */
const BEFORE_LIMIT_MS = 2_000;
const LOOK_EVERY_MS = 10;

/** Where a test file has the instant of `performance.now()` at which jest ends the test or hook that runs. */
const LIMIT = Symbol.for('escrowd.limit of the test that runs');
interface Limited {
  [LIMIT]?: number | undefined;
}

/** Has waiting in these globals end before this instant of `performance.now()`. */
export function limitWaiting(globals: object, at: number): void {
  (globals as Limited)[LIMIT] = at;
}

/**
 * Resolves when it is so, which is looked at over and over. Throws when it is not after a minute, or when the limit of the test
 * is near.
 */
export async function until(isSo: () => boolean | Promise<boolean>): Promise<void> {
  const began = performance.now();
  const limit = ((globalThis as Limited)[LIMIT] ?? Infinity) - BEFORE_LIMIT_MS;
  const deadline = Math.min(began + PATIENCE_MS, Math.max(limit, began));
  while (!(await isSo())) {
    if (performance.now() > deadline) {
      const seconds = Math.round((performance.now() - began) / 1000);
      throw new Error(`after ${seconds} s it is still not so: ${String(isSo)}`);
    }
    await pause(LOOK_EVERY_MS);
  }
}

/**
 * Lets real time pass: for what must not happen meanwhile, or so that a load is spread. A test that does so must hold however
 * long it takes; what is to happen is waited for with {@link until}.
 */
export function letPass(ms: number): Promise<void> {
  return pause(ms);
}
