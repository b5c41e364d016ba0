import type { Escrow } from '../escrow.js';
import { EscrowError } from '../records/errors.js';
import type { ErrorCode } from '../records/errors.js';
import { NotHeld } from '../ports/journal.js';
import type { LogFacts } from '../logged/logFacts.js';

/** What says nothing of a record: something is out, or nobody knows what time it is. */
const OUT: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'token-unavailable',
  'token-object-missing',
  'log-unavailable',
  'store-unavailable',
  'clock-differs',
]);
/** What another daemon that did the same leaves. */
const LOST: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['busy', 'recovery-ended', 'release-gone']);

/** A record that does not say what the log says, and why it was passed over. */
export interface Contradiction {
  /** Id of a request, a grant or an act. */
  readonly id: string;
  readonly reason: string;
}

/** What is to be settled about a request, a grant or an act. */
export interface Matter {
  readonly id: string;
  /** Whether it is to be settled still, by the log. */
  readonly isDue: () => boolean;
  readonly settle: () => Promise<unknown>;
}

/**
 * Settles one matter after the other. What the log says decides whether there is anything to settle; a record that says something
 * else is remembered and passed over, so that no row keeps the others from being settled.
 */
export class Settling {
  readonly #escrow: Pick<Escrow, 'followed'>;
  readonly #contradictions = new Map<string, Contradiction>();

  constructor(escrow: Pick<Escrow, 'followed'>) {
    this.#escrow = escrow;
  }

  /** Records that were passed over, each once. */
  get contradictions(): readonly Contradiction[] {
    return [...this.#contradictions.values()];
  }

  /** Remembers a record that contradicts the log. */
  contradicts(contradiction: Contradiction): void {
    this.#contradictions.set(contradiction.id, contradiction);
  }

  /** Whether it was settled here. Throws when something is out: what is not settled then is in another round. */
  async settle({ id, isDue, settle }: Matter): Promise<boolean> {
    const { followed } = this.#escrow;
    if (!isDue() || isUnderWay(followed.facts, id)) return false;
    try {
      await settle();
      return true;
    } catch (error) {
      if (error instanceof EscrowError ? OUT.has(error.code) : !isOfRecord(error)) throw error;
      const isLost = error instanceof NotHeld || (error instanceof EscrowError && LOST.has(error.code));
      if (isLost) await followed.caughtUp();
      // what another has settled, or is about to, is no matter any more
      if (isLost && (!isDue() || isUnderWay(followed.facts, id))) return false;
      this.contradicts({ id, reason: reasonOf(error) });
      return false;
    }
  }
}

const HELD = 'By its record somebody else is at it, and by the log nobody is.';

/** What a record does that is not even of the form of one. */
function isOfRecord(error: unknown): boolean {
  return error instanceof NotHeld || error instanceof TypeError || error instanceof RangeError;
}

function reasonOf(error: unknown): string {
  if (error instanceof NotHeld || (error instanceof EscrowError && error.code === 'busy')) return HELD;
  return error instanceof EscrowError && error.code !== 'internal'
    ? error.detail
    : 'Its record cannot be read, or cannot be.';
}

/** Whether an attempt about this request, grant or import pair has no outcome yet. */
export function isUnderWay(facts: Pick<LogFacts, 'openAttempts'>, id: string): boolean {
  return facts
    .openAttempts()
    .some(
      ({ subject, grants, importPair }) =>
        subject.recovery === id || subject.grant === id || grants.includes(id) || importPair === id,
    );
}
