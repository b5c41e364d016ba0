import type { LogDamaged } from './faults.js';

/** What was found of the log while the daemon runs: the first damage is the last, since nothing may be built on it. */
export class Damage {
  /** Resolves with the damage when there is some; never rejects. */
  readonly failed: Promise<LogDamaged>;
  #error: LogDamaged | undefined;
  #resolve: (error: LogDamaged) => void = () => undefined;

  constructor() {
    this.failed = new Promise((resolve) => {
      this.#resolve = resolve;
    });
  }

  /** The damage; undefined as long as none was found. */
  get error(): LogDamaged | undefined {
    return this.#error;
  }

  found(error: LogDamaged): void {
    this.#error ??= error;
    this.#resolve(this.#error);
  }

  /** Throws the damage, if there is some. */
  requireNone(): void {
    if (this.#error !== undefined) throw this.#error;
  }
}
