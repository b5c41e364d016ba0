import type { Json } from '../log/entry/canonical.js';
import type { Entry } from '../log/entry/entry.js';
import { TOLERANCE_MS } from './directoryInForce.js';

interface Pair {
  readonly by: string;
  readonly expiresAtMs: number;
}

/**
 * Checks that each key that was imported came under an import key of its own: made before, for whoever imported, not too old,
 * and used once. So a server cannot take the blob of one import for another.
 *
 * Remembers the import keys that were not used yet.
 */
export class ImportEvidence {
  readonly #pairs = new Map<string, Pair>();

  /** Why this entry is refused, if it is. */
  check({ act, phase, actor, detail, time }: Entry): string | undefined {
    const { import: pair } = detail;
    if (typeof pair !== 'string') {
      const isAttempt = phase === 'attempted' && act === 'key.import';
      return isAttempt ? 'a key is imported under no import key' : undefined;
    }
    if (act === 'import.expire') this.#pairs.delete(pair);
    if (act === 'import.prepare' && phase === 'done') {
      this.#pairs.set(pair, { by: actor, expiresAtMs: instantOf(detail['expiresAt']) });
    }
    return act === 'key.import' && phase === 'attempted' ? this.#use(pair, actor, time) : undefined;
  }

  #use(id: string, actor: string, time: string): string | undefined {
    const pair = this.#pairs.get(id);
    this.#pairs.delete(id);
    if (pair === undefined) return `${id} is used to import a key, and does not stand, or not any more`;
    if (pair.by !== actor) return `${id} is used by somebody else than it was made for`;
    if (!(Date.parse(time) <= pair.expiresAtMs + TOLERANCE_MS)) return `${id} is used when it is too old`;
    return undefined;
  }
}

/** Milliseconds of the epoch; long ago when it is no instant. */
function instantOf(value: Json | undefined): number {
  return typeof value === 'string' ? Date.parse(value) : 0;
}
