import type { Entry } from '../../log/entry/entry.js';
import { listOf, membersOf, textOf } from './facts.js';

/** How a grant has ended before its time. */
export type GrantEnd = 'revoked' | 'expired' | 'exhausted';

/** The right of an app to use a key, as the log has it. */
export interface GrantFacts {
  readonly grant: string;
  /** Where it was made. */
  readonly entry: number;
  readonly key: string;
  readonly owner: string;
  readonly recovery: string;
  readonly app: string;
  readonly maxUses: number;
  /** Uses that were attempted. */
  readonly used: number;
  readonly startsAt: string;
  readonly expiresAt: string;
  readonly ended: { readonly at: string; readonly how: GrantEnd } | undefined;
}

const ENDS: ReadonlyMap<string, GrantEnd> = new Map([
  ['grant.revoke', 'revoked'],
  ['grant.expire', 'expired'],
  ['grant.exhaust', 'exhausted'],
]);

/** Keeps account of the grants of a log. */
export class Grants {
  readonly #grants = new Map<string, GrantFacts>();

  /** Takes the next entry. `isDoubted`: what it attempts is not as it should be, and nothing came of it. */
  follow(entry: Entry, index: number, isDoubted: boolean): void {
    const { act, phase, subject, detail } = entry;
    if (act === 'recovery.activate' && phase === 'done') this.#made(entry, index);
    if ((act === 'grant.sign' || act === 'grant.decrypt') && phase === 'attempted' && !isDoubted) {
      const known = this.#grants.get(subject.grant ?? '');
      const uses = listOf(detail['inputs']).length;
      if (known !== undefined) this.#grants.set(known.grant, { ...known, used: known.used + uses });
    }
    this.ended(entry);
  }

  /** Takes an outcome by which a grant may have ended. */
  ended({ act, phase, subject, time }: Entry): void {
    const how = phase === 'done' ? ENDS.get(act) : undefined;
    const known = this.#grants.get(subject.grant ?? '');
    if (how === undefined || known === undefined || known.ended !== undefined) return;
    this.#grants.set(known.grant, { ...known, ended: { at: time, how } });
  }

  get(grant: string): GrantFacts | undefined {
    return this.#grants.get(grant);
  }

  /** All that were made, in that order. */
  get all(): readonly GrantFacts[] {
    return [...this.#grants.values()];
  }

  #made({ subject, detail, time }: Entry, index: number): void {
    const { owner = '', recovery = '' } = subject;
    for (const [key, grant] of Object.entries(membersOf(detail['grants']))) {
      if (typeof grant !== 'string') continue;
      this.#grants.set(grant, {
        ...{ grant, entry: index, key, owner, recovery, app: textOf(detail['app']) ?? '' },
        ...{ maxUses: Number(detail['maxUses'] ?? 0), used: 0, ended: undefined },
        startsAt: textOf(detail['startsAt']) ?? time,
        expiresAt: textOf(detail['expiresAt']) ?? time,
      });
    }
  }
}

/** How a grant stands at an instant. */
export function grantStatus(
  { startsAt, expiresAt, ended, used, maxUses }: GrantFacts,
  at: string,
): 'open' | 'not yet begun' | GrantEnd {
  if (ended !== undefined && ended.at <= at) return ended.how;
  if (expiresAt <= at) return 'expired';
  if (used >= maxUses) return 'exhausted';
  return startsAt > at ? 'not yet begun' : 'open';
}
