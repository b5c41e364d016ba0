import { IDEMPOTENCY_KEY_KEPT_MS } from '../escrow/records/creation.js';
import { canonicalJson } from '../log/entry/canonical.js';
import type { Entry } from '../log/entry/entry.js';
import { clamped, DigestTable } from './digestTable.js';
import { TOLERANCE_MS } from './directoryInForce.js';
import { parseJws } from '../jose/jws.js';

/** Acts that make something, and take an Idempotency-Key. */
const CREATIONS: ReadonlySet<string> = new Set(['key.generate', 'key.import', 'recovery.request']);

/** How long a key certainly stands for one creation, by the clocks that there are. */
const KEPT_SECONDS = (IDEMPOTENCY_KEY_KEPT_MS - TOLERANCE_MS) / 1000;

/** Stands for no time. */
const FREE = 1;

/**
 * Checks that nothing was made twice for one Idempotency-Key: of what a principal has asked for under one key (`ik` in the
 * signed request), within the time that it is kept, all but the last was refused or failed. So a server cannot make two
 * things of an order that was sent again because its answer was lost.
 *
 * Remembers the keys of that time.
 */
export class CreationEvidence {
  /** When each was last taken, in seconds, by principal and key. */
  readonly #taken = new DigestTable();
  /** The key of each creation that is under way, by its act. */
  readonly #underWay = new Map<string, string>();
  #sweptAt = 0;

  /** Why this entry is refused, if it is. */
  check({ act, phase, id, actor, request, time }: Entry): string | undefined {
    if (!CREATIONS.has(act)) return undefined;
    if (phase !== 'attempted') {
      this.#settle(id, phase === 'done');
      return undefined;
    }
    const key = request === undefined ? undefined : parseJws(request)?.payload['ik'];
    if (typeof key !== 'string') return undefined;
    return this.#take(canonicalJson([actor, key]), id, Math.floor(Date.parse(time) / 1000));
  }

  #take(name: string, id: string, at: number): string | undefined {
    const before = this.#taken.get(name) ?? FREE;
    if (before !== FREE && before > at - KEPT_SECONDS) {
      return `its Idempotency-Key stands for what was begun at ${new Date(before * 1000).toISOString()}`;
    }
    this.#taken.set(name, clamped(at));
    this.#underWay.set(id, name);
    if (at > this.#sweptAt + KEPT_SECONDS / 8) this.#sweep(at);
    return undefined;
  }

  /** What came to nothing leaves the key free. */
  #settle(id: string, isMade: boolean): void {
    const name = this.#underWay.get(id);
    this.#underWay.delete(id);
    if (name !== undefined && !isMade) this.#taken.set(name, FREE);
  }

  #sweep(at: number): void {
    this.#sweptAt = at;
    this.#taken.retain((takenAt) => takenAt > at - KEPT_SECONDS);
  }
}
