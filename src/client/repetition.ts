import type { WireAnswer } from './connection.js';
import { ServerUnreachable } from './errors.js';

/** How long, and by which clock, a request that can be sent again is sent again. */
export interface Repetition {
  /** No try begins later than so long after the first. */
  readonly forMs: number;
  /** A clock that only goes forward. */
  readonly elapsedMs: () => number;
  readonly pause: (ms: number) => Promise<void>;
}

/** The first pause after a lost connection; each is twice the one before, up to the longest. */
const FIRST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 4_000;

/**
 * Sends until there is an answer, again when the connection was lost, or the server says that it cannot at the moment and when
 * it may be able to (503, or 409 while an earlier try is under way, with Retry-After). A server that was not reached at all
 * is given up at once. For what may be sent twice and is done once.
 *
 * @throws ServerUnreachable
 */
export async function sendRepeatedly(
  send: () => Promise<WireAnswer>,
  { forMs, elapsedMs, pause }: Repetition,
): Promise<WireAnswer> {
  const until = elapsedMs() + forMs;
  let pauseMs = FIRST_PAUSE_MS;
  let wasReached = false;
  for (;;) {
    let waitMs: number | undefined;
    let end: () => WireAnswer;
    try {
      const answer = await send();
      wasReached = true;
      waitMs = answer.status === 503 || answer.status === 409 ? answer.retryAfterMs : undefined;
      end = () => answer;
    } catch (error) {
      if (!(error instanceof ServerUnreachable)) throw error;
      wasReached ||= error.reason === 'broken';
      const isLost = error.reason === 'broken' || (error.reason === 'refused' && wasReached);
      waitMs = isLost ? pauseMs : undefined;
      pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS);
      end = () => {
        throw error;
      };
    }
    if (waitMs === undefined || elapsedMs() + waitMs > until) return end();
    await pause(Math.max(waitMs, FIRST_PAUSE_MS));
  }
}
