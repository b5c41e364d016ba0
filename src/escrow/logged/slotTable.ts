/** So many bytes of a hash stand for a name: names are drawn by chance, and by the daemon. */
export const NAME_BYTES = 16;
const FEWEST_SLOTS = 64;

/**
 * Facts of a fixed length by the first 128 bits of a hash, in one buffer with open addressing: between 4/3 and 8/3 of what the facts and
 * their names take, however many there are.
 */
export class SlotTable {
  readonly #slotBytes: number;
  #slots: Buffer;
  #size = 0;

  /** @param factBytes the length of what is kept of each name */
  constructor(factBytes: number, saved: Uint8Array = new Uint8Array(0)) {
    this.#slotBytes = NAME_BYTES + factBytes;
    this.#slots = Buffer.alloc(FEWEST_SLOTS * this.#slotBytes);
    for (let from = 0; from < saved.length; from += this.#slotBytes) {
      const slot = Buffer.from(saved.subarray(from, from + this.#slotBytes));
      slot.copy(this.#made(slot.subarray(0, NAME_BYTES)), 0, NAME_BYTES);
    }
  }

  /** The facts of a name, to be read and written; undefined when there are none. They move when another name is added. */
  find(name: Buffer): Buffer | undefined {
    const at = this.#slotOf(name);
    return this.#isEmpty(at) ? undefined : this.#factsAt(at);
  }

  /** The same; facts that are all zeros where there were none. */
  at(name: Buffer): Buffer {
    return this.find(name) ?? this.#made(name);
  }

  /** All names with their facts, in no order. None is added meanwhile. */
  *all(): Iterable<readonly [name: Buffer, facts: Buffer]> {
    for (let at = 0; at < this.#slots.length; at += this.#slotBytes) {
      if (!this.#isEmpty(at)) yield [this.#slots.subarray(at, at + NAME_BYTES), this.#factsAt(at)];
    }
  }

  /** All of them, one after the other. */
  save(): Uint8Array {
    const saved = Buffer.alloc(this.#size * this.#slotBytes);
    let to = 0;
    for (let at = 0; at < this.#slots.length; at += this.#slotBytes) {
      if (!this.#isEmpty(at)) to += this.#slots.copy(saved, to, at, at + this.#slotBytes);
    }
    return saved;
  }

  #made(name: Buffer): Buffer {
    if (this.#size * 4 >= (this.#slots.length / this.#slotBytes) * 3) this.#grow();
    const at = this.#slotOf(name);
    this.#size += 1;
    name.copy(this.#slots, at);
    return this.#factsAt(at);
  }

  #grow(): void {
    const before = this.#slots;
    this.#slots = Buffer.alloc(before.length * 2);
    for (let from = 0; from < before.length; from += this.#slotBytes) {
      const slot = before.subarray(from, from + this.#slotBytes);
      if (slot.every((byte) => byte === 0)) continue;
      slot.copy(this.#slots, this.#slotOf(slot.subarray(0, NAME_BYTES)));
    }
  }

  #factsAt(at: number): Buffer {
    return this.#slots.subarray(at + NAME_BYTES, at + this.#slotBytes);
  }

  #slotOf(name: Buffer): number {
    const slots = this.#slots.length / this.#slotBytes;
    let at = (name.readUInt32LE() % slots) * this.#slotBytes;
    while (!this.#isEmpty(at) && !name.equals(this.#slots.subarray(at, at + NAME_BYTES))) {
      at = (at + this.#slotBytes) % this.#slots.length;
    }
    return at;
  }

  #isEmpty(at: number): boolean {
    for (let byte = at; byte < at + NAME_BYTES; byte += 1) if (this.#slots[byte] !== 0) return false;
    return true;
  }
}
