import type { Json } from '../../log/entry/canonical.js';
import type { Act } from './means.js';
import type { ErrorCode } from '../records/errors.js';
import type { Subject } from '../../log/entry/entry.js';
import type { Actor } from './act.js';

/** How many refusals of one caller have an entry each; what is beyond is counted. */
export interface RefusalBudget {
  /** So many at once after a rest. */
  readonly burst: number;
  readonly perMinute: number;
}

/** How long refusals are counted before they are recorded together. */
export const COUNTED_FOR_MS = 60_000;

/** A refusal that had no attempt. */
export interface Refusal {
  readonly act: Act;
  readonly actor: Actor;
  readonly subject: Subject;
  readonly code: ErrorCode;
}

/** Refusals of one caller about the things of one owner, or of nobody, that are to be recorded together. */
export interface CountedRefusals {
  /** The first of them: its request stands for all. */
  readonly sample: Refusal;
  readonly since: Date;
  until: Date;
  count: number;
  /** By act and error code. */
  readonly of: Map<Act, Map<ErrorCode, number>>;
}

/**
 * Keeps the log from being filled by those who are refused. Each caller has a budget of refusals that are recorded one by one;
 * beyond it they are counted, apart for each owner whose keys, requests or grants they are about, so that whoever is
 * concerned is told within a minute, however many there are. What is counted and not yet recorded is lost with the process.
 */
export class Refusals {
  readonly #budget: RefusalBudget | undefined;
  readonly #left = new Map<string, { readonly tokens: number; readonly atMs: number }>();
  #counted = new Map<string, CountedRefusals>();

  /** @param budget without one, each refusal is within it */
  constructor(budget: RefusalBudget | undefined) {
    this.#budget = budget;
  }

  /** Whether this caller's refusal has an entry of its own; takes it from the budget if so. */
  take(caller: string, now: Date): boolean {
    if (this.#budget === undefined) return true;
    const { burst, perMinute } = this.#budget;
    const atMs = now.getTime();
    const last = this.#left.get(caller) ?? { tokens: burst, atMs };
    // a clock that is set back gives nothing, and takes nothing
    const since = Math.max(0, atMs - last.atMs);
    const tokens = Math.min(burst, last.tokens + (since * perMinute) / 60_000);
    if (tokens < 1) return false;
    this.#left.set(caller, { tokens: tokens - 1, atMs });
    return true;
  }

  count(refusal: Refusal, now: Date): void {
    const { act, actor, subject, code } = refusal;
    const group = `${actor.id} ${ownerConcerned(subject) ?? ''}`;
    const counted: CountedRefusals = this.#counted.get(group) ?? {
      sample: refusal,
      since: now,
      until: now,
      count: 0,
      of: new Map(),
    };
    const codes = counted.of.get(act) ?? new Map<ErrorCode, number>();
    counted.of.set(act, codes.set(code, (codes.get(code) ?? 0) + 1));
    counted.count += 1;
    counted.until = now;
    this.#counted.set(group, counted);
  }

  /** Takes out what was counted for so long; what cannot be recorded is given {@link back}. */
  takeCounted(forMs: number, now: Date): readonly CountedRefusals[] {
    const due = [...this.#counted].filter(([, { since }]) => now.getTime() - since.getTime() >= forMs);
    for (const [group] of due) this.#counted.delete(group);
    return due.map(([, counted]) => counted);
  }

  /** Goes on counting these, together with those of the same that came meanwhile. */
  back(counted: CountedRefusals): void {
    const { actor, subject } = counted.sample;
    const group = `${actor.id} ${ownerConcerned(subject) ?? ''}`;
    const newer = this.#counted.get(group);
    if (newer !== undefined) {
      for (const [act, codes] of newer.of) {
        const before = counted.of.get(act) ?? new Map<ErrorCode, number>();
        for (const [code, count] of codes) before.set(code, (before.get(code) ?? 0) + count);
        counted.of.set(act, before);
      }
      counted.count += newer.count;
      counted.until = newer.until;
    }
    this.#counted.set(group, counted);
  }
}

/** The owner of the thing that a refusal is about, by the records; one whom only the refused request names is told nothing. */
function ownerConcerned({ owner, key, keys, recovery, grant }: Subject): string | undefined {
  return (key ?? keys ?? recovery ?? grant) === undefined ? undefined : owner;
}

/** What was counted, as the entry has it that records it. */
export function countedAsJson({ count, since, until, of }: CountedRefusals): Readonly<Record<string, Json>> {
  return {
    refusals: count,
    since: since.toISOString(),
    until: until.toISOString(),
    of: Object.fromEntries([...of].map(([act, codes]) => [act, Object.fromEntries(codes)])),
  };
}
