import { setTimeout as pause } from 'node:timers/promises';
import type { Clock } from '../escrow/ports/clock.js';

/** Time as the host has it. */
export const systemClock: Clock = {
  now: () => new Date(),
  pause: async (ms) => {
    await pause(ms);
  },
};
