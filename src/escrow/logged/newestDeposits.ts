import { createHash } from 'node:crypto';

/** What the log says of the newest deposit of a key. */
export interface DepositFact {
  /** SHA-256 (hex) of the deposit. */
  readonly digest: string;
  /** Counts the deposits of the key, from 1. */
  readonly generation: number;
  /** Index of the entry that recorded it: of the birth of the key, or of when it was last sealed anew. */
  readonly index: number;
}

const NAME_BYTES = 16;
const DIGEST_BYTES = 32;
/** When the key was last used, in milliseconds since 1970; 0: never. */
const USED_AT = NAME_BYTES + DIGEST_BYTES;
const INDEX = USED_AT + 8;
const GENERATION = INDEX + 8;
const GROUP = GENERATION + 4;
const SLOT_BYTES = GROUP + 4;
const FEWEST_SLOTS = 64;

/**
 * The newest deposit of each key, the group that it is counted in, and when the key was last used: 96 to 192 bytes a key, however
 * many there are. A name is known by the first 128 bits of its SHA-256; keys are named by chance, and by the daemon.
 */
export class NewestDeposits {
  #slots = Buffer.alloc(FEWEST_SLOTS * SLOT_BYTES);
  #size = 0;

  /** Those that {@link save} gave. */
  static of(saved: Uint8Array): NewestDeposits {
    const deposits = new NewestDeposits();
    for (let from = 0; from < saved.length; from += SLOT_BYTES) {
      const slot = Buffer.from(saved.subarray(from, from + SLOT_BYTES));
      deposits.#put(slot.subarray(0, NAME_BYTES), slot.subarray(NAME_BYTES));
    }
    return deposits;
  }

  get(key: string): DepositFact | undefined {
    const at = this.#slotOf(nameOf(key));
    if (this.#isEmpty(at)) return undefined;
    return {
      digest: this.#slots.toString('hex', at + NAME_BYTES, at + USED_AT),
      generation: this.#slots.readUInt32LE(at + GENERATION),
      index: this.#slots.readDoubleLE(at + INDEX),
    };
  }

  /** The group that a key is counted in; undefined when there is no such key. */
  groupOf(key: string): number | undefined {
    const at = this.#slotOf(nameOf(key));
    return this.#isEmpty(at) ? undefined : this.#slots.readUInt32LE(at + GROUP);
  }

  /** When a key was last used; undefined when it never was, or there is none. */
  lastUsedMs(key: string): number | undefined {
    const at = this.#slotOf(nameOf(key));
    const usedMs = this.#isEmpty(at) ? 0 : this.#slots.readDoubleLE(at + USED_AT);
    return usedMs === 0 ? undefined : usedMs;
  }

  /** A key is born. The first birth of a key is the one that counts. */
  born(key: string, { digest, index }: Omit<DepositFact, 'generation'>, group: number): void {
    const rest = Buffer.alloc(SLOT_BYTES - NAME_BYTES);
    Buffer.from(digest, 'hex').copy(rest);
    rest.writeDoubleLE(index, INDEX - NAME_BYTES);
    rest.writeUInt32LE(1, GENERATION - NAME_BYTES);
    rest.writeUInt32LE(group, GROUP - NAME_BYTES);
    this.#put(nameOf(key), rest);
  }

  /** The next deposit of a key that was born. */
  resealed(key: string, { digest, generation, index }: DepositFact, group: number): void {
    const at = this.#slotOf(nameOf(key));
    if (this.#isEmpty(at)) return;
    Buffer.from(digest, 'hex').copy(this.#slots, at + NAME_BYTES);
    this.#slots.writeDoubleLE(index, at + INDEX);
    this.#slots.writeUInt32LE(generation, at + GENERATION);
    this.#slots.writeUInt32LE(group, at + GROUP);
  }

  /** Notes that a key was used; of what was never born nothing is noted. */
  used(key: string, atMs: number): void {
    const at = this.#slotOf(nameOf(key));
    if (!this.#isEmpty(at) && atMs > 0) this.#slots.writeDoubleLE(atMs, at + USED_AT);
  }

  /** All of them, in 72 bytes each. */
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
