import type { WireAnswer } from './connection.js';
import { backOffMs } from '../system/backOff.js';
import { ServerUnreachable } from './errors.js';

/** How long, and by which clock, a request that can be sent again is sent again. */
export interface Repetition {
  /** No try begins later than so long after the first. */
  readonly forMs: number;
  /** A clock that only goes forward. */
  readonly elapsedMs: () => number;
  readonly pause: (ms: number) => Promise<void>;
  /** A number from 0 up to 1. */
  readonly random: () => number;
}

/** After a lost connection. */
const PAUSES = { firstMs: 250, longestMs: 4_000 } as const;

/**
 * Sends until there is an answer, again when the connection was lost, or the server says that it cannot at the moment and when
 * it may be able to (503, or 409 while an earlier try is under way, with Retry-After). A server that was not reached at all
 * is given up at once. For what may be sent twice and is done once.
 *
 * @throws ServerUnreachable
 */
export async function sendRepeatedly(
  send: () => Promise<WireAnswer>,
  { forMs, elapsedMs, pause, random }: Repetition,
): Promise<WireAnswer> {
  const until = elapsedMs() + forMs;
  let losses = 0;
  let wasReached = false;
  for (;;) {
    let waitMs: number | undefined;
    let end: () => WireAnswer;
    try {
      const answer = await send();
      wasReached = true;
      const { status, retryAfterMs } = answer;
      if ((status === 503 || status === 409) && retryAfterMs !== undefined)
        waitMs = Math.max(retryAfterMs, PAUSES.firstMs);
      end = () => answer;
    } catch (error) {
      if (!(error instanceof ServerUnreachable)) throw error;
      wasReached ||= error.reason === 'broken';
      const isLost = error.reason === 'broken' || (error.reason === 'refused' && wasReached);
      losses += 1;
      waitMs = isLost ? backOffMs(losses, PAUSES, random) : undefined;
      end = () => {
        throw error;
      };
    }
    if (waitMs === undefined || elapsedMs() + waitMs > until) return end();
    await pause(waitMs);
  }
}
