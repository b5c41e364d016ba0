import type { Phase } from './entry.js';
import type { EntryHead } from './entryScan.js';

/** An attempt whose outcome the log does not have: cut short, or still under way when the log was read. */
export interface OpenAttempt {
  /** The index of its entry. */
  readonly index: number;
  readonly id: string;
  readonly act: string;
  readonly actor: string;
}

/** Whether an entry is about a call that was refused before any attempt: nothing was done, and nothing follows from it. */
export function standsAlone({
  phase,
  request,
  certificate,
}: Pick<EntryHead, 'phase' | 'request' | 'certificate'>): boolean {
  return phase === 'denied' && (request ?? certificate) !== undefined;
}

/**
 * Follows the acts of a log: every outcome closes one earlier attempt with the same id, act and actor, and
 * closes it once. Holds the attempts that are open, and nothing of those that are closed.
 */
export class ActPairing {
  readonly #open = new Map<string, OpenAttempt>();
  readonly #counts = { attempted: 0, done: 0, denied: 0, failed: 0 };

  /** How many entries of each phase there were. */
  get counts(): Readonly<Record<Phase, number>> {
    return { ...this.#counts };
  }

  /** The attempts without an outcome so far, in the order of the log. */
  get open(): readonly OpenAttempt[] {
    return [...this.#open.values()];
  }

  /**
   * Takes the next entry of the log.
   * @returns why it cannot stand where it does, if so; undefined when it may.
   */
  follow(entry: EntryHead, index: number): string | undefined {
    this.#counts[entry.phase] += 1;
    const { id, act, actor, phase } = entry;
    const attempt = this.#open.get(id);
    if (phase === 'attempted') {
      if (attempt !== undefined)
        return `act ${id} is attempted again while it is open since entry ${attempt.index}`;
      this.#open.set(id, { index, id, act, actor });
      return undefined;
    }
    if (standsAlone(entry)) {
      return attempt === undefined
        ? undefined
        : `act ${id} is refused anew while it is open since entry ${attempt.index}`;
    }
    if (attempt === undefined) return `outcome of act ${id}, which has no open attempt`;
    if (attempt.act !== act) return `outcome of ${act}, but entry ${attempt.index} attempted ${attempt.act}`;
    if (attempt.actor !== actor)
      return `outcome for ${actor}, but in entry ${attempt.index} ${attempt.actor} acts`;
    this.#open.delete(id);
    return undefined;
  }
}
