/** Tells the operator: one line. */
export type Tell = (message: string, facts: Readonly<Record<string, unknown>>) => void;

/** The most addresses that one line counts apart. */
const MAX_COUNTED = 1000;

/**
 * What happens often, told seldom: the first time at once, and what follows within `everyMs` of a line in one more line when
 * that time is over, with how many there were and from where the most came. So a flood is two lines a minute, and no line
 * of anything else is lost under it.
 */
export class Gathered {
  readonly #message: string;
  readonly #tell: Tell;
  readonly #everyMs: number;
  readonly #counts = new Map<string, number>();
  #total = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(message: string, tell: Tell, everyMs: number) {
    this.#message = message;
    this.#tell = tell;
    this.#everyMs = everyMs;
  }

  /** It happened, on account of this address. */
  note(address: string): void {
    if (this.#timer === undefined) {
      this.#tell(this.#message, { address });
      this.#wait();
      return;
    }
    this.#total += 1;
    const count = this.#counts.get(address) ?? 0;
    if (count > 0 || this.#counts.size < MAX_COUNTED) this.#counts.set(address, count + 1);
  }

  /** Tells what is left, and waits for nothing more. */
  end(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#flush();
  }

  #wait(): void {
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      if (this.#flush()) this.#wait();
    }, this.#everyMs);
    this.#timer.unref();
  }

  #flush(): boolean {
    if (this.#total === 0) return false;
    const [address, most] = [...this.#counts].reduce((a, b) => (b[1] > a[1] ? b : a));
    this.#tell(this.#message, {
      again: this.#total,
      addresses: this.#counts.size,
      mostFrom: address,
      ofThese: most,
    });
    this.#total = 0;
    this.#counts.clear();
    return true;
  }
}
