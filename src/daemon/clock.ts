import { setTimeout as pause } from 'node:timers/promises';
import type { Clock } from '../escrow/ports/clock.js';

export const systemClock: Clock = {
  now: () => new Date(),
  pause: async (ms) => {
    await pause(ms);
  },
};
