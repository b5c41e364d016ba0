import type { OperatorLog } from './operatorLog.js';

/** How often the operators are told again of what goes on. */
const TOLD_EVERY_MS = 60_000;
/** So many different lines are gathered apart; those beyond are one, whatever they say. */
const MOST_KINDS = 100;
/** Facts that differ each time though it is the same that happens. */
const VARYING: ReadonlySet<string> = new Set(['requestId', 'notice', 'entry', 'attempts', 'delayMs']);

type Facts = Readonly<Record<string, unknown>>;
type Level = 'warn' | 'error';

/**
 * What happens often, told seldom: the first time at once, and what is the same and follows within a minute of a line in one more
 * line when that time is over, with the newest facts and how often it was (`again`). The same is what has the same message and facts,
 * numbers and what names a single request aside. So a flood makes a line a minute, and hides no other.
 */
export class RepeatedLines {
  readonly #log: OperatorLog;
  readonly #everyMs: number;
  readonly #kinds = new Map<string, { again: number; tell: () => void; timer?: NodeJS.Timeout }>();

  constructor(log: OperatorLog, everyMs = TOLD_EVERY_MS) {
    this.#log = log;
    this.#everyMs = everyMs;
  }

  tell(level: Level, message: string, facts: Facts): void {
    const kind = this.#kindOf(level, message, facts);
    const known = this.#kinds.get(kind);
    if (known === undefined) {
      this.#log.log(level, message, facts);
      this.#kinds.set(kind, { again: 0, tell: () => undefined });
      this.#wait(kind);
      return;
    }
    known.again += 1;
    known.tell = () => {
      this.#log.log(level, message, { ...facts, again: known.again });
    };
  }

  /** Tells what is left, and waits for nothing more. */
  end(): void {
    for (const { again, tell, timer } of this.#kinds.values()) {
      clearTimeout(timer);
      if (again > 0) tell();
    }
    this.#kinds.clear();
  }

  #wait(kind: string): void {
    const known = this.#kinds.get(kind);
    if (known === undefined) return;
    known.timer = setTimeout(() => {
      if (known.again === 0) {
        this.#kinds.delete(kind);
        return;
      }
      known.tell();
      known.again = 0;
      this.#wait(kind);
    }, this.#everyMs);
    known.timer.unref();
  }

  #kindOf(level: Level, message: string, facts: Facts): string {
    const lasting = Object.entries(facts).filter(([name]) => !VARYING.has(name));
    const said = JSON.stringify([level, message, ...lasting]).replace(/[0-9a-f]{8,}|[0-9]+/g, '#');
    return this.#kinds.has(said) || this.#kinds.size < MOST_KINDS ? said : 'others';
  }
}
