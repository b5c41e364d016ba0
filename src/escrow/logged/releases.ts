import type { Entry } from '../../log/entry/entry.js';
import type { ReleaseFacts } from './logFacts.js';

/** What has been released and is kept still for its recipients, by the log: until an entry says that it was confirmed or forgotten. */
export class LoggedReleases {
  readonly #kept: Map<string, ReleaseFacts>;

  /** @param saved those that {@link save} gave */
  constructor(saved: ReadonlyMap<string, ReleaseFacts> = new Map()) {
    this.#kept = new Map(saved);
  }

  save(): ReadonlyMap<string, ReleaseFacts> {
    return this.#kept;
  }

  /** In the order in which they were released. */
  ids(): readonly string[] {
    return [...this.#kept.keys()];
  }

  get(id: string): ReleaseFacts | undefined {
    return this.#kept.get(id);
  }

  /** Takes the outcome of an act that was done. */
  concluded({ act, subject, time, digest = '' }: Entry): void {
    const { recovery, owner = '', keys = [] } = subject;
    if (recovery === undefined) return;
    if (act === 'recovery.release') this.#kept.set(recovery, { atMs: Date.parse(time), owner, keys, digest });
    if (act === 'recovery.confirm' || act === 'recovery.forget') this.#kept.delete(recovery);
  }
}
