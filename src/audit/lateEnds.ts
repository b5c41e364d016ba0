import type { Entry } from '../log/entry/entry.js';
import type { Late } from '../log/export/verifier.js';
import { endsRequest } from './recoveries.js';

/** Acts that bring a key back. */
const RECOVERING: ReadonlySet<string> = new Set(['recovery.activate', 'recovery.release', 'recovery.reseal']);

/**
 * Requests that have ended by the second outcome of an act: what was being made of one then comes to nothing, and is recorded all
 * the same where its database has two acts under way on one request.
 */
export class LateEnds {
  readonly #ended = new Set<string>();

  /** Takes an outcome that its act had before. */
  ended(entry: Entry): void {
    if (endsRequest(entry)) this.#ended.add(entry.subject.recovery ?? '');
  }

  has(recovery: string): boolean {
    return this.#ended.has(recovery);
  }

  /** Says of an outcome that brings keys back that its request had ended. */
  check({ act, phase, subject }: Entry): Late | undefined {
    if (phase !== 'done' || !RECOVERING.has(act) || !this.has(subject.recovery ?? '')) return undefined;
    const what = act === 'recovery.release' ? RELEASED_ALL_THE_SAME : ALL_THE_SAME;
    return { late: `${act} of a request that had ended since it was attempted: ${what}` };
  }
}

const ALL_THE_SAME = 'nothing comes of it, and something may have been done';
const RELEASED_ALL_THE_SAME = 'what was released may be with its recipient all the same';
