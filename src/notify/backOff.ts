import type { RandomBytes } from '../escrow/records/ids.js';
import type { Handing } from './sink.js';

const FIRST_MS = 1_000;
const LONGEST_MS = 300_000;

/**
 * How often a notice is tried before it is given up. What is refused for its own sake holds up those behind it for some two
 * minutes, what is deferred for an hour; a receiver that does not work is waited for, however long.
 */
export const TRIES = {
  refused: 8,
  deferred: 20,
  unavailable: Infinity,
} as const satisfies Record<Extract<Handing, { readonly took: 'none' }>['because'], number>;

/** How long to wait after so many tries: doubled each time up to 5 minutes, and between half and all of that by chance. */
export function backOffMs(attempts: number, random: RandomBytes): number {
  const longest = Math.min(FIRST_MS * 2 ** Math.min(attempts - 1, 30), LONGEST_MS);
  const chance = Buffer.from(random(4)).readUInt32BE() / 0xffff_ffff;
  return Math.ceil((longest / 2) * (1 + chance));
}
