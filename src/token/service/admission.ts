import { EscrowError } from '../../escrow/records/errors.js';
import { SessionsBusy } from '../cryptoki/sessions.js';

/** The door to something that is exchanged under its users: counts who is inside, and lets wait who may not enter yet. */
export class Admission {
  readonly #outside = new Set<() => void>();
  readonly #onEmpty = new Set<() => void>();
  #isShut = false;
  #inside = 0;

  /** Whether who comes now waits outside. */
  get isShut(): boolean {
    return this.#isShut;
  }

  /** Whoever comes from now on waits outside. */
  shut(): void {
    this.#isShut = true;
  }

  /** Lets in all who wait. */
  open(): void {
    this.#isShut = false;
    for (const enter of this.#outside) enter();
  }

  /**
   * Runs `work` inside, at once or when the door opens: EscrowError `token-unavailable` when that takes longer than
   * `waitMs`. Nothing happens between the door being open and `work` being called.
   */
  async enter<T>(waitMs: number, work: () => Promise<T>): Promise<T> {
    const deadline = performance.now() + waitMs;
    while (this.#isShut) {
      if (!(await until(this.#outside, deadline - performance.now()))) {
        const cause = new SessionsBusy('the token is being opened anew');
        throw new EscrowError('token-unavailable', 'The token is busy; try again.', { cause });
      }
    }
    this.#inside += 1;
    try {
      return await work();
    } finally {
      this.#inside -= 1;
      if (this.#inside === 0) for (const tell of this.#onEmpty) tell();
    }
  }

  /** Whether nobody is inside, now or within `withinMs`. */
  async drained(withinMs: number): Promise<boolean> {
    const deadline = performance.now() + withinMs;
    while (this.#inside > 0) {
      if (!(await until(this.#onEmpty, deadline - performance.now()))) return false;
    }
    return true;
  }
}

/** Whether one of `callbacks` was called within the time. */
function until(callbacks: Set<() => void>, withinMs: number): Promise<boolean> {
  return new Promise((resolve) => {
    const settle = (called: boolean): void => {
      callbacks.delete(call);
      clearTimeout(timer);
      resolve(called);
    };
    const call = (): void => {
      settle(true);
    };
    const timer = setTimeout(
      () => {
        settle(false);
      },
      Math.max(0, withinMs),
    );
    callbacks.add(call);
  });
}
