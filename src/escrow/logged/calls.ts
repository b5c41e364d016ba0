import { hash } from 'node:crypto';

import type { Entry } from '../../log/entry/entry.js';

/** A request is refused for its time 65 seconds after it was signed; two daemons' clocks differ by at most ten. */
const GENERATION_MS = 80_000;

/** The same, as they are saved. */
export interface SavedCalls {
  readonly recent: ReadonlySet<string>;
  readonly before: ReadonlySet<string>;
  readonly sinceMs: number;
}

/** The signed requests of the log that could still be sent again, each by the digest of what was signed. */
export class LoggedCalls {
  #recent: Set<string>;
  #before: Set<string>;
  #sinceMs: number;

  /** @param saved those that {@link save} gave */
  constructor(
    { recent, before, sinceMs }: SavedCalls = { recent: new Set(), before: new Set(), sinceMs: 0 },
  ) {
    this.#recent = new Set(recent);
    this.#before = new Set(before);
    this.#sinceMs = sinceMs;
  }

  save(): SavedCalls {
    return { recent: this.#recent, before: this.#before, sinceMs: this.#sinceMs };
  }

  /** Takes the request of an entry, if it has one, and says whether it stood in the log before. */
  take({ request, time }: Entry): boolean {
    if (request === undefined) return false;
    this.#turn(Date.parse(time));
    // the signature can be written in two ways, what is signed cannot
    const digest = hash('sha256', request.slice(0, request.lastIndexOf('.')), 'base64');
    if (this.#recent.has(digest) || this.#before.has(digest)) return true;
    this.#recent.add(digest);
    return false;
  }

  /** Forgets what is older than a generation, by the times of the entries. */
  #turn(nowMs: number): void {
    if (nowMs < this.#sinceMs + GENERATION_MS) return;
    this.#before = nowMs < this.#sinceMs + 2 * GENERATION_MS ? this.#recent : new Set();
    this.#recent = new Set();
    this.#sinceMs = nowMs;
  }
}
