interface Item {
  readonly id: string;
  readonly atMs: number;
}

/**
 * Ids, each with the instant from which on it is due. To put in, move and take out costs the logarithm of how many there are; to
 * ask what is due costs what is due. In memory a heap: each item is due no earlier than the one above it, at half its index.
 */
export class Agenda {
  readonly #heap: Item[] = [];
  readonly #indexes = new Map<string, number>();

  /** From this instant on (milliseconds of the epoch), in place of the one before; never, when it is not finite. */
  set(id: string, atMs: number | undefined): void {
    this.delete(id);
    if (atMs === undefined || !Number.isFinite(atMs)) return;
    this.#heap.push({ id, atMs });
    this.#rise(this.#heap.length - 1);
  }

  delete(id: string): void {
    const index = this.#indexes.get(id);
    if (index === undefined) return;
    this.#indexes.delete(id);
    const last = this.#heap.pop();
    if (last === undefined || index === this.#heap.length) return;
    this.#heap[index] = last;
    this.#sink(this.#rise(index));
  }

  /** All that is due at this instant, the earliest first. It stays, until it is taken out or moved. */
  due(nowMs: number): readonly string[] {
    const found: Item[] = [];
    for (const open = [0]; ;) {
      const index = open.pop();
      if (index === undefined) break;
      const item = this.#heap[index];
      if (item === undefined || item.atMs > nowMs) continue;
      found.push(item);
      open.push(2 * index + 1, 2 * index + 2);
    }
    return found.sort((a, b) => a.atMs - b.atMs).map(({ id }) => id);
  }

  /** Moves an item up to where it belongs, and says where that is. */
  #rise(from: number): number {
    let index = from;
    for (let above = (index - 1) >> 1; this.#isBefore(index, above); above = (index - 1) >> 1) {
      this.#swap(index, above);
      index = above;
    }
    this.#note(index);
    return index;
  }

  #sink(from: number): void {
    for (let index = from; ;) {
      const [left, right] = [2 * index + 1, 2 * index + 2];
      const below = this.#isBefore(right, left) ? right : left;
      if (!this.#isBefore(below, index)) return;
      this.#swap(index, below);
      index = below;
    }
  }

  /** False where there is none of the two. */
  #isBefore(index: number, other: number): boolean {
    const [one, another] = [this.#heap[index], this.#heap[other]];
    return one !== undefined && another !== undefined && one.atMs < another.atMs;
  }

  #swap(index: number, other: number): void {
    const [one, another] = [this.#heap[index], this.#heap[other]];
    if (one === undefined || another === undefined) return;
    this.#heap[index] = another;
    this.#heap[other] = one;
    this.#note(index);
    this.#note(other);
  }

  #note(index: number): void {
    const item = this.#heap[index];
    if (item !== undefined) this.#indexes.set(item.id, index);
  }
}
