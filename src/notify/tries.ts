import type { DeliveryResult } from './sink.js';

/** How long a sink that fails is left alone: up to 5 minutes. */
export const RESTS = { firstMs: 1_000, longestMs: 300_000 } as const;

/**
 * How often a notice is tried before it is given up. What is refused for its own sake holds up those behind it for some two
 * minutes, what is deferred for an hour; a receiver that does not work is waited for, however long.
 */
export const TRIES = {
  refused: 8,
  deferred: 20,
  unavailable: Infinity,
} as const satisfies Record<Extract<DeliveryResult, { readonly accepted: 'none' }>['because'], number>;
