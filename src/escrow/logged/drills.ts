import { hash } from 'node:crypto';

import type { Entry } from '../../log/entry/entry.js';
import { chainNext, drillsSaidIn } from '../records/drills/drilling.js';
import { keyName } from './newestDeposits.js';
import { NAME_BYTES, SlotTable } from './slotTable.js';

/** The drills of one share of the newest deposit of a key. */
export interface DrillFact {
  /** How many hashes of its chain were shown, and the last of them. */
  readonly shown: number;
  readonly last: Buffer;
  /** When it was drilled last, and what came of it; undefined: it was attempted, and there is no outcome. */
  readonly atMs: number | undefined;
  readonly isOpened: boolean;
  /** Whether that was with a hash of the chain. */
  readonly isProven: boolean;
}

/** What held of the shares that an attempt drills when it was recorded. */
export interface DrillsAsOf {
  /** Whether each is of the newest deposit of its key. */
  readonly areNewest: boolean;
  /** Whether each hash is the one that comes before the last that was shown of its chain. */
  readonly areInTurn: boolean;
}

const LAST = 0;
const AT = 32;
const SHOWN = AT + 8;
const GENERATION = SHOWN + 4;
const FLAGS = GENERATION + 4;
const FACT_BYTES = FLAGS + 4;
const OPENED = 1;
const PROVEN = 2;

/**
 * What was drilled last of each share, and which hash of its chain was shown last: 68 to 182 bytes a share that was ever drilled. A hash
 * that stands in an attempt was shown, whatever came of it.
 */
export class LoggedDrills {
  readonly #table: SlotTable;

  /** @param saved what {@link save} gave */
  constructor(saved?: Uint8Array) {
    this.#table = new SlotTable(FACT_BYTES, saved);
  }

  save(): Uint8Array {
    return this.#table.save();
  }

  /** Of a share of the deposit of this generation, by `keyName` and {@link holderName}; undefined when it was never drilled. */
  get(key: Buffer, holder: Buffer, generation: number): DrillFact | undefined {
    const facts = this.#table.find(nameOf(key, holder));
    if (facts?.readUInt32LE(GENERATION) !== generation) return undefined;
    const atMs = facts.readDoubleLE(AT);
    const flags = facts.readUInt32LE(FLAGS);
    return {
      shown: facts.readUInt32LE(SHOWN),
      last: Buffer.from(facts.subarray(LAST, AT)),
      atMs: atMs === 0 ? undefined : atMs,
      isOpened: (flags & OPENED) !== 0,
      isProven: (flags & PROVEN) !== 0,
    };
  }

  /** Takes an attempt; undefined when it is none to drill. `generationOf` says which deposit of a key is the newest. */
  attempted(
    { act, actor, detail }: Entry,
    generationOf: (key: string) => number | undefined,
  ): DrillsAsOf | undefined {
    if (act !== 'key.drill') return undefined;
    const drills = drillsSaidIn(detail['drills']);
    const areNewest = drills.every(({ key, generation }) => generationOf(key) === generation);
    const areInTurn = drills.every(({ key, purpose, generation, preimage }) => {
      const known = this.get(keyName(key), holderName(purpose, actor), generation);
      // what comes first is held against the entry of the deposit by who decides
      if (preimage === undefined || known === undefined || known.shown === 0) return true;
      return chainNext(preimage).equals(known.last);
    });
    if (!areNewest || !areInTurn) return { areNewest, areInTurn };
    for (const { key, purpose, generation, preimage } of drills) {
      const facts = this.#of(key, purpose, actor, generation);
      if (preimage === undefined) continue;
      preimage.copy(facts, LAST);
      facts.writeUInt32LE(facts.readUInt32LE(SHOWN) + 1, SHOWN);
    }
    return { areNewest, areInTurn };
  }

  /** Takes what came of drills that were attempted, of deposits that are the newest of their keys still. */
  concluded({ actor, detail, time }: Entry, generationOf: (key: string) => number | undefined): void {
    for (const { key, purpose, generation, result } of drillsSaidIn(detail['results'])) {
      if (generationOf(key) !== generation) continue;
      const facts = this.#of(key, purpose, actor, generation);
      const isProven = result === 'opened' && facts.readUInt32LE(SHOWN) > 0;
      facts.writeDoubleLE(Date.parse(time), AT);
      facts.writeUInt32LE((result === 'opened' ? OPENED : 0) | (isProven ? PROVEN : 0), FLAGS);
    }
  }

  /** The facts of this deposit: what is known of one before it goes. */
  #of(key: string, purpose: string, depositary: string, generation: number): Buffer {
    const facts = this.#table.at(nameOf(keyName(key), holderName(purpose, depositary)));
    if (facts.readUInt32LE(GENERATION) === generation) return facts;
    facts.fill(0);
    facts.writeUInt32LE(generation, GENERATION);
    return facts;
  }
}

/** What stands for somebody's shares for a purpose, of whatever key. */
export function holderName(purpose: string, depositary: string): Buffer {
  return hash('sha256', `${purpose} ${depositary}`, 'buffer').subarray(0, NAME_BYTES);
}

/** A share: both names are by chance, and so is what they make together. */
function nameOf(key: Buffer, holder: Buffer): Buffer {
  const name = Buffer.allocUnsafe(NAME_BYTES);
  for (let at = 0; at < NAME_BYTES; at += 4) {
    name.writeInt32LE(key.readInt32LE(at) ^ holder.readInt32LE(at), at);
  }
  return name;
}
