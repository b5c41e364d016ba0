import type { Json } from '../log/canonical.js';
import type { Entry } from '../log/entry.js';
import { decodeEntry } from '../log/entry.js';
import { Births } from './births.js';
import { LoggedCalls } from './loggedCalls.js';
import { LoggedCreations } from './loggedCreations.js';
import type {
  AsOf,
  CreationFact,
  GrantFacts,
  LogFacts,
  OpenAttempt,
  PolicyFacts,
  RequestFacts,
} from './logFacts.js';
import { LoggedGrants } from './loggedGrants.js';
import { LoggedRequests } from './loggedRequests.js';

/** An attempt that waits for its outcome. */
interface Attempt {
  readonly of: OpenAttempt;
  readonly recovery: string | undefined;
  readonly asOf: AsOf;
}

/**
 * The state that the log's entries make: what is open, what runs, what is newest. It takes every entry, in order, each once,
 * and asks nobody; what has ended it forgets.
 */
export class LogState implements LogFacts {
  readonly #births = new Births();
  readonly #requests = new LoggedRequests();
  readonly #grants = new LoggedGrants();
  readonly #attempts = new Map<string, Attempt>();
  readonly #calls = new LoggedCalls();
  readonly #creations = new LoggedCreations();
  #policy: PolicyFacts | undefined;

  get policy(): PolicyFacts | undefined {
    return this.#policy;
  }

  request(id: string): RequestFacts | undefined {
    return this.#requests.get(id);
  }

  grant(id: string): GrantFacts | undefined {
    return this.#grants.get(id);
  }

  birth(key: string): string | undefined {
    return this.#births.get(key);
  }

  asOf(act: string): AsOf | undefined {
    return this.#attempts.get(act)?.asOf;
  }

  openAttempt(act: string): OpenAttempt | undefined {
    return this.#attempts.get(act)?.of;
  }

  creation(principal: string, key: string): CreationFact | undefined {
    return this.#creations.get(principal, key);
  }

  /** Takes the entry at the next index. */
  take(_index: number, bytes: Uint8Array): void {
    const entry = decodeEntry(bytes);
    const isRepeated = this.#calls.take(entry);
    if (entry.phase === 'attempted') this.#attempt(entry, isRepeated);
    else this.#outcome(entry);
  }

  #attempt(entry: Entry, isRepeated: boolean): void {
    const { id, act, actor, subject, time } = entry;
    const { recovery, grant } = subject;
    const isOnRequest = recovery !== undefined && act.startsWith('recovery.') && act !== 'recovery.request';
    const isUse = act === 'grant.sign' || act === 'grant.decrypt';
    this.#attempts.set(id, {
      of: { act, actor, subject },
      recovery: isOnRequest ? recovery : undefined,
      asOf: {
        policyVersion: this.#policy?.version ?? 0,
        request: isOnRequest ? this.#requests.get(recovery) : undefined,
        isContended: isOnRequest && this.#isUnderWay(recovery),
        useRefused: isUse ? this.#grants.use(grant ?? '', entry, Date.parse(time)) : undefined,
        isRepeated,
        isKeyTaken: this.#creations.attempted(entry),
      },
    });
    this.#requests.attempted(entry);
  }

  #isUnderWay(recovery: string): boolean {
    for (const attempt of this.#attempts.values()) if (attempt.recovery === recovery) return true;
    return false;
  }

  #outcome(entry: Entry): void {
    this.#attempts.delete(entry.id);
    this.#creations.concluded(entry);
    const { act, phase, subject, detail, digest } = entry;
    if (phase === 'done' && act === 'policy.apply') {
      this.#policy = { version: Number(detail['version']), hash: textOf(detail['policyHash']) };
    }
    if (phase === 'done' && act === 'key.generate' && subject.key !== undefined && digest !== undefined) {
      this.#births.add(subject.key, digest);
    }
    const made = this.#requests.concluded(entry);
    if (made !== undefined) this.#grants.made(entry, made);
    if (phase === 'done' && act.startsWith('grant.')) this.#grants.concluded(entry);
  }
}

function textOf(fact: Json | undefined): string {
  return typeof fact === 'string' ? fact : '';
}
