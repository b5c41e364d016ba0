import { IDEMPOTENCY_KEY_KEPT_MS } from '../escrow/idempotency.js';
import { canonicalJson } from '../log/canonical.js';
import type { Entry } from '../log/entry.js';
import { TOLERANCE_MS } from './directoryInForce.js';
import { parseJws } from './jws.js';

/** Acts that make something, and take an Idempotency-Key. */
const CREATIONS: ReadonlySet<string> = new Set(['key.generate', 'recovery.request']);

/** How long a key certainly stands for one creation, by the clocks that there are. */
const KEPT_MS = IDEMPOTENCY_KEY_KEPT_MS - TOLERANCE_MS;

/**
 * Checks that nothing was made twice for one Idempotency-Key: of what a principal has asked for under one key (`ik` in the
 * signed request), within the time that it is kept, all but the last was refused or failed. So a server cannot make two
 * things of an order that was sent again because its answer was lost.
 *
 * Remembers the keys of that time.
 */
export class CreationEvidence {
  /** What each key stands for, by principal and key; oldest first. */
  readonly #taken = new Map<string, { readonly atMs: number; readonly index: number }>();
  /** The key of each creation that is under way, by its act. */
  readonly #underWay = new Map<string, string>();

  /** Why this entry is refused, if it is. */
  check({ act, phase, id, actor, request, time }: Entry, index: number): string | undefined {
    if (!CREATIONS.has(act)) return undefined;
    if (phase !== 'attempted') {
      this.#settle(id, phase === 'done');
      return undefined;
    }
    const key = request === undefined ? undefined : parseJws(request)?.payload['ik'];
    return typeof key === 'string'
      ? this.#take(canonicalJson([actor, key]), id, { atMs: Date.parse(time), index })
      : undefined;
  }

  #take(
    name: string,
    id: string,
    taken: { readonly atMs: number; readonly index: number },
  ): string | undefined {
    this.#forgetBefore(taken.atMs - KEPT_MS);
    const before = this.#taken.get(name);
    if (before !== undefined) return `its Idempotency-Key stands for what entry ${before.index} has begun`;
    this.#taken.set(name, taken);
    this.#underWay.set(id, name);
    return undefined;
  }

  /** What came to nothing leaves the key free. */
  #settle(id: string, isMade: boolean): void {
    const name = this.#underWay.get(id);
    this.#underWay.delete(id);
    if (name !== undefined && !isMade) this.#taken.delete(name);
  }

  #forgetBefore(oldestMs: number): void {
    for (const [name, { atMs }] of this.#taken) {
      if (atMs > oldestMs) return;
      this.#taken.delete(name);
    }
  }
}
