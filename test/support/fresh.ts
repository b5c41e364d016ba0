import { randomBytes, randomUUID } from 'node:crypto';

/**
 * Bytes that nobody had before: of keys, PINs, nonces and identifiers. No test turns on which they are: what a test draws to
 * try it follows from the seed of the run, by {@link chance} of `chance.ts`. Lint lets no other file of the tests draw.
 */
export function freshBytes(length: number): Buffer {
  return randomBytes(length);
}

/** A name that nobody had before. */
export function freshName(): string {
  return randomUUID();
}
