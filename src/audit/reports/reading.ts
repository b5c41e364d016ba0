import type { Entry } from '../../log/entry/entry.js';
import { policyAct } from '../../log/export/verifier.js';
import { policyChanges } from '../../policy/changes.js';
import { Acts, type ActsWanted } from './acts.js';
import type { EntryFollower, SeenEntry } from './follower.js';
import { Duties } from './duties.js';
import { Grants } from './grants.js';
import { Keys } from './keys.js';
import { People } from './people.js';
import { Requests } from './requests.js';

/** What is read of a log: from one instant up to, and without, another; RFC 3339 UTC, as in entries. */
export interface Period {
  readonly from: string | undefined;
  readonly to: string | undefined;
}

/** Which acts a report tells of, by what is known when they begin and end. */
export type ActsOf = (reading: Pick<Reading, 'people'>) => Omit<ActsWanted, 'from'>;

/**
 * What a log says, as it stood at the end of a period: people, keys, requests, grants, and the acts of the period that are
 * wanted. Made while the export is verified, and to be told only when it is believed.
 */
export class Reading implements EntryFollower {
  readonly people = new People();
  readonly keys = new Keys();
  readonly requests = new Requests();
  readonly grants = new Grants();
  readonly duties = new Duties();
  readonly acts: Acts;
  readonly period: Period;
  /** What each policy has changed, in words, by the entry of its attempt. */
  readonly changes = new Map<number, readonly string[]>();
  #policyAttempt = 0;
  #firstAt: string | undefined;
  #lastAt: string | undefined;

  constructor(period: Period, acts: ActsOf) {
    this.period = period;
    this.acts = new Acts({ from: period.from, ...acts(this) });
  }

  follow(seen: SeenEntry): void {
    const { entry, index, doubt } = seen;
    this.#firstAt ??= entry.time;
    this.#lastAt = entry.time;
    if (this.#isAfter(entry)) return;
    this.acts.follow(seen);
    this.people.follow(seen);
    this.keys.follow(entry, index);
    this.duties.follow(entry, index);
    this.requests.follow(entry, index);
    this.grants.follow(entry, index, doubt !== undefined);
    if (entry.act === policyAct) this.#followPolicy(entry, index);
  }

  ended(entry: Entry): void {
    if (this.#isAfter(entry)) return;
    this.requests.ended(entry);
    this.grants.ended(entry);
  }

  /** When the first entry of the log was recorded; undefined where there is none. */
  get firstAt(): string | undefined {
    return this.#firstAt;
  }

  /** When the last entry of the log was recorded. */
  get lastAt(): string | undefined {
    return this.#lastAt;
  }

  #isAfter({ time }: Entry): boolean {
    return this.period.to !== undefined && time >= this.period.to;
  }

  #followPolicy({ phase }: Entry, index: number): void {
    if (phase === 'attempted') this.#policyAttempt = index;
    if (phase !== 'done') return;
    const { policy, replaced } = this.people;
    if (policy === undefined) return;
    const first = `the first policy: ${policy.principals.size} people and apps, ${policy.rules.length} rules`;
    this.changes.set(this.#policyAttempt, replaced === undefined ? [first] : policyChanges(replaced, policy));
  }
}
