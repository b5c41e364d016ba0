import type { Clock } from '../escrow/ports/clock.js';
import { messageOf } from '../system/errors.js';
import type { Clocks } from './clocks.js';
import type { HeldLease } from './journal/instances.js';
import type { Pool } from './pool.js';
import { forgetExpiredRequests } from './store/store.js';

const forgetEveryMs = 60_000;

/** Renews the lease, and forgets old requests now and then, until it is stopped. */
export function keepUp(
  pool: Pool,
  lease: HeldLease,
  {
    clock,
    log,
    leaseMs,
    clocks,
  }: {
    readonly clock: Clock;
    readonly log: { info(message: string): void; warn(message: string): void };
    readonly leaseMs: number;
    readonly clocks: Clocks;
  },
): { stop(): Promise<void> } {
  let turn: Promise<void> | undefined;
  let forgotAt = -Infinity;
  let fault = '';
  const once = async (): Promise<void> => {
    try {
      await lease.renew();
      await clocks.require(pool.ask);
      if (performance.now() - forgotAt >= forgetEveryMs) {
        forgotAt = performance.now();
        await forgetExpiredRequests(pool, clock);
      }
      if (fault !== '') log.info('the lease of this daemon and what it remembers are kept up again');
      fault = '';
    } catch (error) {
      const reason = messageOf(error);
      if (reason !== fault)
        log.warn(`the lease of this daemon or what it remembers could not be kept up: ${reason}`);
      fault = reason;
    } finally {
      turn = undefined;
    }
  };
  const timer = setInterval(() => {
    turn ??= once();
  }, leaseMs / 3);
  return {
    stop: async () => {
      clearInterval(timer);
      await turn;
    },
  };
}
