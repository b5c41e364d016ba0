/** A pause that can be cut short. */
export class Wakeable {
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
