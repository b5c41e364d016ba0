import { createHash } from 'node:crypto';

const NAME_BYTES = 16;
const DIGEST_BYTES = 32;
/** When the key was last used, in milliseconds since 1970; 0: never. */
const USED_AT = NAME_BYTES + DIGEST_BYTES;
const SLOT_BYTES = USED_AT + 8;
const FEWEST_SLOTS = 64;

/**
 * The digest of each key's deposit, as the entry of its birth has it, and when the key was last used: 75 to 150 bytes a key, however
 * many there are. A name is
 * known by the first 128 bits of its SHA-256; keys are named by chance, and by the daemon.
 */
export class Births {
  #slots = Buffer.alloc(FEWEST_SLOTS * SLOT_BYTES);
  #size = 0;

  /** Those that {@link save} gave. */
  static of(saved: Uint8Array): Births {
    const births = new Births();
    for (let from = 0; from < saved.length; from += SLOT_BYTES) {
      const slot = Buffer.from(saved.subarray(from, from + SLOT_BYTES));
      births.#put(slot.subarray(0, NAME_BYTES), slot.subarray(NAME_BYTES));
    }
    return births;
  }

  get(key: string): string | undefined {
    const at = this.#slotOf(nameOf(key));
    return this.#isEmpty(at) ? undefined : this.#slots.toString('hex', at + NAME_BYTES, at + USED_AT);
  }

  /** When a key was last used; undefined when it never was, or there is none. */
  lastUsedMs(key: string): number | undefined {
    const at = this.#slotOf(nameOf(key));
    const usedMs = this.#isEmpty(at) ? 0 : this.#slots.readDoubleLE(at + USED_AT);
    return usedMs === 0 ? undefined : usedMs;
  }

  /** The first birth of a key is the one that counts. */
  add(key: string, digest: string): void {
    this.#put(nameOf(key), Buffer.from(digest, 'hex'));
  }

  /** Notes that a key was used; of what was never born nothing is noted. */
  used(key: string, atMs: number): void {
    const at = this.#slotOf(nameOf(key));
    if (!this.#isEmpty(at) && atMs > 0) this.#slots.writeDoubleLE(atMs, at + USED_AT);
  }

  /** All of them, in 56 bytes each. */
  save(): Uint8Array {
    const saved = Buffer.alloc(this.#size * SLOT_BYTES);
    let to = 0;
    for (let at = 0; at < this.#slots.length; at += SLOT_BYTES) {
      if (!this.#isEmpty(at)) to += this.#slots.copy(saved, to, at, at + SLOT_BYTES);
    }
    return saved;
  }

  #put(name: Buffer, rest: Buffer): void {
    if (this.#size * 4 >= (this.#slots.length / SLOT_BYTES) * 3) this.#grow();
    const at = this.#slotOf(name);
    if (!this.#isEmpty(at)) return;
    this.#size += 1;
    name.copy(this.#slots, at);
    rest.copy(this.#slots, at + NAME_BYTES);
  }

  #grow(): void {
    const before = this.#slots;
    this.#slots = Buffer.alloc(before.length * 2);
    for (let from = 0; from < before.length; from += SLOT_BYTES) {
      const slot = before.subarray(from, from + SLOT_BYTES);
      if (slot.every((byte) => byte === 0)) continue;
      slot.copy(this.#slots, this.#slotOf(slot.subarray(0, NAME_BYTES)));
    }
  }

  #slotOf(name: Buffer): number {
    const slots = this.#slots.length / SLOT_BYTES;
    let at = (name.readUInt32LE() % slots) * SLOT_BYTES;
    while (!this.#isEmpty(at) && !name.equals(this.#slots.subarray(at, at + NAME_BYTES))) {
      at = (at + SLOT_BYTES) % this.#slots.length;
    }
    return at;
  }

  #isEmpty(at: number): boolean {
    for (let byte = at; byte < at + NAME_BYTES; byte += 1) if (this.#slots[byte] !== 0) return false;
    return true;
  }
}

function nameOf(key: string): Buffer {
  return createHash('sha256').update(key).digest().subarray(0, NAME_BYTES);
}
