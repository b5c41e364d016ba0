import type { Entry, Phase } from '../entry/entry.js';

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
}: Pick<Entry, 'phase' | 'request' | 'certificate'>): boolean {
  return phase === 'denied' && (request ?? certificate) !== undefined;
}

/** Why an entry is not the outcome of an open attempt: no log has it, or it counts for nothing and says so. */
export type Unpaired = { readonly fault: string } | { readonly void: string };

/**
 * Follows the acts of a log: every outcome closes one earlier attempt with the same id, act and actor, and closes it once. Who
 * closes an attempt in the name of another daemon, which it takes for gone, writes that it was `interrupted`; a database that
 * deceives it has two outcomes recorded then, of which one is that. The first of them counts, and the other is void.
 * Holds the attempts that are open, and of those that are closed the ones that were interrupted.
 */
export class ActPairing {
  readonly #open = new Map<string, OpenAttempt>();
  /** Where each stands that was closed as interrupted. */
  readonly #interrupted = new Map<string, OpenAttempt>();
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
   * @returns why it counts for nothing, or cannot stand where it does, if so; undefined when it counts
   */
  follow(entry: Entry, index: number): Unpaired | undefined {
    this.#counts[entry.phase] += 1;
    const { id, act, actor, phase } = entry;
    const attempt = this.#open.get(id);
    const before = this.#interrupted.get(id);
    if (phase === 'attempted') {
      if (attempt !== undefined)
        return { fault: `act ${id} is attempted again while it is open since entry ${attempt.index}` };
      if (before !== undefined)
        return { fault: `act ${id} is attempted again after entry ${before.index} has closed it` };
      this.#open.set(id, { index, id, act, actor });
      return undefined;
    }
    if (standsAlone(entry)) {
      return attempt === undefined
        ? undefined
        : { fault: `act ${id} is refused anew while it is open since entry ${attempt.index}` };
    }
    const isInterrupted = phase === 'failed' && entry.error === 'interrupted';
    if (attempt === undefined) return unpaired({ id, act, actor, isInterrupted, before });
    if (attempt.act !== act)
      return { fault: `outcome of ${act}, but entry ${attempt.index} attempted ${attempt.act}` };
    if (attempt.actor !== actor)
      return { fault: `outcome for ${actor}, but in entry ${attempt.index} ${attempt.actor} acts` };
    this.#open.delete(id);
    if (isInterrupted) this.#interrupted.set(id, { index, id, act, actor });
    return undefined;
  }
}

/** Of an outcome without an open attempt. One that says `interrupted` says that nobody knows of anything: nothing rests on it. */
function unpaired({
  id,
  act,
  actor,
  isInterrupted,
  before,
}: Omit<OpenAttempt, 'index'> & {
  readonly isInterrupted: boolean;
  readonly before: OpenAttempt | undefined;
}): Unpaired {
  const isSecond = before?.act === act && before.actor === actor;
  if (isSecond)
    return { void: `a second outcome of act ${id}, which entry ${before.index} has closed: ${DECEIVED}` };
  return isInterrupted
    ? { void: `closes act ${id}, which has no open attempt: ${DECEIVED}` }
    : { fault: `outcome of act ${id}, which has no open attempt` };
}

const DECEIVED = 'the database has passed off a daemon that lives as gone, or an act that is over as open';
