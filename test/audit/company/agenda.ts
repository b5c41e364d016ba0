/** What is to happen, in the order of time; what happens may put more on it. */
export class Agenda {
  readonly #waiting: { readonly atMs: number; readonly run: () => Promise<void> }[] = [];

  at(instant: string | number, run: () => Promise<void>): void {
    const atMs = typeof instant === 'number' ? instant : Date.parse(instant);
    const place = this.#waiting.findIndex((one) => one.atMs > atMs);
    this.#waiting.splice(place < 0 ? this.#waiting.length : place, 0, { atMs, run });
  }

  /** Has all of it happen; `setClock` is told the time of each. */
  async run(setClock: (atMs: number) => void, untilMs: number): Promise<void> {
    for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) {
      if (next.atMs > untilMs) return;
      setClock(next.atMs);
      await next.run();
    }
  }
}
