import { hash } from 'node:crypto';

import { NAME_BYTES, SlotTable } from './slotTable.js';

/** What the log says of the newest deposit of a key. */
export interface DepositFact {
  /** SHA-256 (hex) of the deposit. */
  readonly digest: string;
  /** Counts the deposits of the key, from 1. */
  readonly generation: number;
  /** Index of the entry that recorded it: of the birth of the key, or of when it was last sealed anew. */
  readonly index: number;
}

const DIGEST_BYTES = 32;
/** When the key was last used, in milliseconds since 1970; 0: never. */
const USED_AT = DIGEST_BYTES;
const INDEX = USED_AT + 8;
const GENERATION = INDEX + 8;
const GROUP = GENERATION + 4;
const FACT_BYTES = GROUP + 4;

/** A key as it is counted: by its name alone. */
export interface CountedKey {
  readonly name: Buffer;
  readonly generation: number;
  readonly group: number;
}

/**
 * The newest deposit of each key, the group that it is counted in, and when the key was last used: 96 to 192 bytes a key, however
 * many there are. A name is known by the first 128 bits of its SHA-256; keys are named by chance, and by the daemon.
 */
export class NewestDeposits {
  readonly #table: SlotTable;

  /** @param saved what {@link save} gave */
  constructor(saved?: Uint8Array) {
    this.#table = new SlotTable(FACT_BYTES, saved);
  }

  get(key: string): DepositFact | undefined {
    const facts = this.#table.find(keyName(key));
    if (facts === undefined) return undefined;
    return {
      digest: facts.toString('hex', 0, DIGEST_BYTES),
      generation: facts.readUInt32LE(GENERATION),
      index: facts.readDoubleLE(INDEX),
    };
  }

  /** The group that a key is counted in; undefined when there is no such key. */
  groupOf(key: string): number | undefined {
    return this.#table.find(keyName(key))?.readUInt32LE(GROUP);
  }

  /** When a key was last used; undefined when it never was, or there is none. */
  lastUsedMs(key: string): number | undefined {
    const usedMs = this.#table.find(keyName(key))?.readDoubleLE(USED_AT) ?? 0;
    return usedMs === 0 ? undefined : usedMs;
  }

  /** All keys, in no order. */
  *keys(): Iterable<CountedKey> {
    for (const [name, facts] of this.#table.all()) yield counted(name, facts);
  }

  /** One of them; undefined when there is no such key. */
  counted(key: string): CountedKey | undefined {
    const facts = this.#table.find(keyName(key));
    return facts && counted(keyName(key), facts);
  }

  /** A key is born. The first birth of a key is the one that counts. */
  born(key: string, { digest, index }: Omit<DepositFact, 'generation'>, group: number): void {
    const name = keyName(key);
    if (this.#table.find(name) !== undefined) return;
    const facts = this.#table.at(name);
    Buffer.from(digest, 'hex').copy(facts);
    facts.writeDoubleLE(index, INDEX);
    facts.writeUInt32LE(1, GENERATION);
    facts.writeUInt32LE(group, GROUP);
  }

  /** The next deposit of a key that was born. */
  resealed(key: string, { digest, generation, index }: DepositFact, group: number): void {
    const facts = this.#table.find(keyName(key));
    if (facts === undefined) return;
    Buffer.from(digest, 'hex').copy(facts);
    facts.writeDoubleLE(index, INDEX);
    facts.writeUInt32LE(generation, GENERATION);
    facts.writeUInt32LE(group, GROUP);
  }

  /** Notes that a key was used; of what was never born nothing is noted. */
  used(key: string, atMs: number): void {
    if (atMs > 0) this.#table.find(keyName(key))?.writeDoubleLE(atMs, USED_AT);
  }

  /** All of them, in 72 bytes each. */
  save(): Uint8Array {
    return this.#table.save();
  }
}

function counted(name: Buffer, facts: Buffer): CountedKey {
  return { name, generation: facts.readUInt32LE(GENERATION), group: facts.readUInt32LE(GROUP) };
}

/** A key by the first 128 bits of its SHA-256. */
export function keyName(key: string): Buffer {
  return hash('sha256', key, 'buffer').subarray(0, NAME_BYTES);
}
