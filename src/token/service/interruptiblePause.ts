/** A pause that can be cut short. */
export class InterruptiblePause {
  #wake: () => void = () => undefined;
  #isWoken = false;

  /** Cuts the pause short, or the next one when there is none. */
  wake(): void {
    this.#isWoken = true;
    this.#wake();
  }

  /** Resolves after `ms`; when woken, after `atLeastMs` of them; and at once when woken and `until` holds. */
  async pause(ms: number, how: { readonly atLeastMs: number; readonly until: () => boolean }): Promise<void> {
    const startedAt = performance.now();
    for (;;) {
      const passedMs = performance.now() - startedAt;
      const leftMs = (this.#isWoken ? how.atLeastMs : ms) - passedMs;
      if (leftMs <= 0 || how.until()) break;
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, leftMs);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    this.#wake = () => undefined;
    this.#isWoken = false;
  }
}

/** Pauses between tries of what may fail each time: twice as long each, and from the first again after what went well for long. */
export class BackOff {
  #pauseMs = 0;
  #begunAt = -Infinity;

  constructor(private readonly how: { readonly firstMs: number; readonly mostMs: number }) {}

  /** Whether the pause is over, and a try may be made. */
  isOver(): boolean {
    return performance.now() >= this.#begunAt + this.#pauseMs;
  }

  /** A try was made: a pause begins. */
  begin(): void {
    const { firstMs, mostMs } = this.how;
    const now = performance.now();
    const wentWell = now - this.#begunAt > this.#pauseMs + mostMs;
    this.#pauseMs = wentWell ? firstMs : Math.min(2 * this.#pauseMs, mostMs);
    this.#begunAt = now;
  }
}
