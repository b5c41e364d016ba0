import { isDeepStrictEqual } from 'node:util';

import { startWitnessing, type Witnessing, type WitnessingParts } from '../../cosigning/witnessing.js';
import type { WitnessAt } from '../../cosigning/submission.js';
import type { SinkState } from '../../escrow/ports/outbox.js';
import type { Notifications } from '../startNotifications.js';

/** The witnesses that the log is shown to, which may become others while the daemon works. */
export class LiveWitnessing {
  readonly #parts: Omit<WitnessingParts, 'witnesses'>;
  #witnesses: readonly WitnessAt[];
  #current: Witnessing;

  constructor(witnesses: readonly WitnessAt[], parts: Omit<WitnessingParts, 'witnesses'>) {
    this.#parts = parts;
    this.#witnesses = witnesses;
    this.#current = startWitnessing({ witnesses, ...parts });
  }

  get silent(): readonly string[] {
    return this.#current.silent;
  }

  /** Lets those of before finish, and shows the log to these from then on. Resolves with whether they are others. */
  async replace(witnesses: readonly WitnessAt[]): Promise<boolean> {
    if (isDeepStrictEqual(witnesses, this.#witnesses)) return false;
    await this.#current.stop();
    this.#witnesses = witnesses;
    this.#current = startWitnessing({ witnesses, ...this.#parts });
    return true;
  }

  stop(): Promise<void> {
    return this.#current.stop();
  }
}

/** Those who are told outside of the API, who may become others while the daemon works. */
export class LiveNotifications {
  readonly #drainMs: number;
  #given: unknown;
  #current: Notifications;
  #stop: ((deadlineMs: number) => Promise<void>) | undefined;

  constructor(current: Notifications, given: unknown, drainMs: number) {
    this.#drainMs = drainMs;
    this.#given = given;
    this.#current = current;
  }

  start(): void {
    this.#stop = this.#current.start();
  }

  states(): Promise<readonly SinkState[]> {
    return this.#current.states();
  }

  /**
   * Lets the sinks of before finish, and tells these from then on. Resolves with whether `given`, which they are made of, is
   * other than it was; when it is not, nothing is opened. What `open` throws goes through, and nothing has changed then.
   */
  async replace(given: unknown, open: () => Promise<Notifications>): Promise<boolean> {
    if (isDeepStrictEqual(given, this.#given)) return false;
    const next = await open();
    await this.#stop?.(this.#drainMs);
    this.#given = given;
    this.#current = next;
    this.#stop = next.start();
    return true;
  }

  async stop(): Promise<void> {
    await this.#stop?.(this.#drainMs);
  }
}
