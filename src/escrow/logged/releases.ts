import type { Entry } from '../../log/entry/entry.js';
import { Agenda } from './agenda.js';
import type { ReleaseFacts } from './logFacts.js';

/** What has been released and is kept still for its recipients, by the log: until an entry says that it was confirmed or forgotten. */
export class LoggedReleases {
  readonly #kept: Map<string, ReleaseFacts>;
  readonly #times = new Agenda();

  /** @param saved those that {@link save} gave */
  constructor(saved: ReadonlyMap<string, ReleaseFacts> = new Map()) {
    this.#kept = new Map(saved);
    for (const [id, { atMs }] of saved) this.#times.set(id, atMs);
  }

  save(): ReadonlyMap<string, ReleaseFacts> {
    return this.#kept;
  }

  /** Those that were released at this instant or before, the earliest first. */
  until(ms: number): readonly string[] {
    return this.#times.due(ms);
  }

  get(id: string): ReleaseFacts | undefined {
    return this.#kept.get(id);
  }

  /** Takes the outcome of an act that was done. */
  concluded({ act, subject, time, digest = '' }: Entry): void {
    const { recovery, owner = '', keys = [] } = subject;
    if (recovery === undefined) return;
    if (act === 'recovery.release') {
      const atMs = Date.parse(time);
      this.#kept.set(recovery, { atMs, owner, keys, digest });
      this.#times.set(recovery, atMs);
    }
    if (act === 'recovery.confirm' || act === 'recovery.forget') {
      this.#kept.delete(recovery);
      this.#times.delete(recovery);
    }
  }
}
