import { sha256 } from '../log/tree/merkle.js';

/**
 * So many words of a name's SHA-256 stand for it: 160 bits, so that nobody makes two names that are taken for one, which
 * would take some 2^80 tries.
 */
const digestWords = 5;
const slotWords = digestWords + 1;
const fewestSlots = 16;
const largest = 0xffff_ffff;

/**
 * Remembers a number for each of very many names, whatever their length, in 32 to 64 bytes a name. The names themselves
 * are not kept.
 */
export class DigestTable {
  /** A digest and its number (0: an empty slot), at the slot that the digest says or the next that was free. */
  #slots = new Uint32Array(fewestSlots * slotWords);
  #size = 0;

  /** How many names have a number. */
  get size(): number {
    return this.#size;
  }

  /** The number of a name; undefined when it has none. */
  get(name: string): number | undefined {
    const value = this.#slots[this.#slotOf(digestOf(name), 0) + digestWords];
    return value === 0 ? undefined : value;
  }

  /**
   * Gives a name a number, in place of the one that it had.
   * @throws RangeError unless it is a whole number from 1 to 2^32 - 1
   */
  set(name: string, value: number): void {
    if (!Number.isInteger(value) || value < 1 || value > largest) {
      throw new RangeError('a number from 1 to 2^32 - 1');
    }
    if (this.#size * 4 >= (this.#slots.length / slotWords) * 3) this.#rebuild(this.#size * 2, () => true);
    this.#put(digestOf(name), 0, value);
  }

  /** Forgets the names whose number is not to be kept. */
  retain(isKept: (value: number) => boolean): void {
    let kept = 0;
    for (let at = digestWords; at < this.#slots.length; at += slotWords) {
      const value = this.#slots[at] ?? 0;
      if (value !== 0 && isKept(value)) kept += 1;
    }
    this.#rebuild(kept, isKept);
  }

  /** Moves what is kept into as many slots as `names` need. */
  #rebuild(names: number, isKept: (value: number) => boolean): void {
    const before = this.#slots;
    let slots = fewestSlots;
    while (slots * 3 < names * 4) slots *= 2;
    this.#slots = new Uint32Array(slots * slotWords);
    this.#size = 0;
    for (let at = 0; at < before.length; at += slotWords) {
      const value = before[at + digestWords] ?? 0;
      if (value !== 0 && isKept(value)) this.#put(before, at, value);
    }
  }

  #put(words: Uint32Array, from: number, value: number): void {
    const slot = this.#slotOf(words, from);
    if (this.#slots[slot + digestWords] === 0) this.#size += 1;
    this.#slots.set(words.subarray(from, from + digestWords), slot);
    this.#slots[slot + digestWords] = value;
  }

  /** Where this digest stands, or is to stand. There is always an empty slot to end the search. */
  #slotOf(words: Uint32Array, from: number): number {
    const slots = this.#slots.length / slotWords;
    let slot = ((words[from] ?? 0) % slots) * slotWords;
    while (this.#slots[slot + digestWords] !== 0 && !this.#isAt(slot, words, from)) {
      slot = (slot + slotWords) % this.#slots.length;
    }
    return slot;
  }

  #isAt(slot: number, words: Uint32Array, from: number): boolean {
    for (let word = 0; word < digestWords; word += 1) {
      if (this.#slots[slot + word] !== words[from + word]) return false;
    }
    return true;
  }
}

/** The number nearest to this one that a {@link DigestTable} holds: seconds since the epoch fit it until 2106. */
export function clamped(value: number): number {
  return Math.min(Math.max(value, 1), largest);
}

function digestOf(name: string): Uint32Array {
  const digest = Buffer.from(sha256(Buffer.from(name)));
  return Uint32Array.from({ length: digestWords }, (_, word) => digest.readUInt32LE(4 * word));
}
