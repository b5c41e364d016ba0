import { setTimeout as pause } from 'node:timers/promises';

/**
 * How long is waited for what takes moments on an idle machine. Nothing is proven by how fast it is, and a machine that is
 * busy with other things may take its time.
 */
const PATIENCE_MS = 60_000;
const LOOK_EVERY_MS = 10;

/** Resolves when it is so, which is looked at over and over. Throws when it is not after a minute. */
export async function until(isSo: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = performance.now() + PATIENCE_MS;
  while (!(await isSo())) {
    if (performance.now() > deadline) throw new Error(`after a minute it is still not so: ${String(isSo)}`);
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
