import type { Entry } from '../../log/entry/entry.js';
import { textOf } from './facts.js';

/** That somebody has acknowledged their duties. */
export interface Acknowledged {
  readonly who: string;
  readonly role: string;
  /** SHA-256 (hex) of the text. */
  readonly text: string;
  readonly policyVersion: number;
  readonly at: string;
  readonly entry: number;
}

/** Keeps account of who has acknowledged their duties: of each person and role the newest. */
export class Duties {
  readonly #newest = new Map<string, Acknowledged>();

  /** Takes the next entry. */
  follow({ act, phase, actor, time, detail }: Entry, index: number): void {
    if (act !== 'depositary.acknowledge' || phase !== 'done') return;
    const [role, text] = [textOf(detail['role']) ?? '', textOf(detail['text']) ?? ''];
    const policyVersion = Number(detail['policyVersion']);
    const said = { who: actor, role, text, policyVersion, at: time, entry: index };
    this.#newest.set(`${actor} ${role}`, said);
  }

  /** The newest of this person in this role; undefined where there is none. */
  find(who: string, role: string): Acknowledged | undefined {
    return this.#newest.get(`${who} ${role}`);
  }
}
