import { createHash, randomBytes } from 'node:crypto';

/** Names the seed of everything that a run of tests draws: set it to have a run draw the same again. */
export const SEED_VARIABLE = 'ESCROWD_TEST_SEED';

/** The seed of this run: the one that is set, or one that is drawn, told, and from then on set. */
export function runSeed(): number {
  const given = process.env[SEED_VARIABLE];
  if (given === undefined) {
    const seed = randomBytes(4).readInt32BE();
    process.env[SEED_VARIABLE] = String(seed);
    process.stderr.write(`${seedInWords()}\n`);
    return seed;
  }
  const seed = Number(given);
  if (given === String(seed | 0)) return seed;
  throw new Error(`${SEED_VARIABLE} is a whole number of 32 bits, and not "${given}"`);
}

/** How to have a run draw the same again. */
export function seedInWords(): string {
  return `everything that these tests draw follows from ${SEED_VARIABLE}=${process.env[SEED_VARIABLE] ?? ''}`;
}

/** Chance that follows from the seed of the run. */
export interface Chance {
  readonly bytes: (length: number) => Buffer;
  /** A whole number from 0 to below `end`, which is at most 2^32. */
  readonly below: (end: number) => number;
  /** From 0 to below 1. */
  readonly fraction: () => number;
  readonly shuffled: <T>(items: readonly T[]) => readonly T[];
}

/** The same draws for the same seed and name. Who draws beside others has a name of their own, or order is chance again. */
export function chance(name: string, seed: number = runSeed()): Chance {
  let counter = 0;
  const bytes = (length: number): Buffer => {
    counter += 1;
    return createHash('shake256', { outputLength: Math.max(length, 1) })
      .update(`${seed} ${name} ${counter}`)
      .digest()
      .subarray(0, length);
  };
  const fraction = (): number => bytes(6).readUIntBE(0, 6) / 2 ** 48;
  return {
    bytes,
    below: (end) => bytes(6).readUIntBE(0, 6) % end,
    fraction,
    shuffled: (items) =>
      items
        .map((item) => ({ item, at: fraction() }))
        .sort((a, b) => a.at - b.at)
        .map(({ item }) => item),
  };
}
