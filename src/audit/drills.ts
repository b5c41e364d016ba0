import { BIRTHS } from '../escrow/records/creation.js';
import {
  DRILL_RESULTS,
  chainNext,
  chainValue,
  drillsSaidIn,
  recordedDeposit,
} from '../escrow/records/drills/drilling.js';
import { NAME_BYTES, SlotTable } from '../escrow/logged/slotTable.js';
import { DRILL_TYPE } from '../escrow/records/statementTypes.js';
import { parseJws } from '../jose/jws.js';
import { type Json, canonicalJson, isJsonObject } from '../log/entry/canonical.js';
import type { Entry } from '../log/entry/entry.js';
import type { Objection } from '../log/export/verifier.js';
import { sha256 } from '../log/tree/merkle.js';

const VALUE_BYTES = 32;
const GENERATION = VALUE_BYTES;
const HAS_CHAIN = GENERATION + 4;
const FACT_BYTES = HAS_CHAIN + 4;

/**
 * Checks drills: what is said of each share is what its depositary signed, of the newest deposit of a key that the depositary has a share of; the hash
 * that is shown is the one before the last that was shown of its chain, of which the entry of the deposit has the end, and where there is a chain
 * nothing has opened without it; and what did not open for the
 * depositary is not said to have opened. Who signed is checked with the other statements.
 *
 * Remembers of each share the last hash of its chain.
 */
export class DrillEvidence {
  readonly #shares = new SlotTable(FACT_BYTES);
  /** The owner of each key, by a hash, and which deposit of it is the newest. */
  readonly #keys = new SlotTable(NAME_BYTES + 4);
  /** What was signed of each attempt without an outcome. */
  readonly #begun = new Map<string, readonly Readonly<Record<string, Json>>[]>();

  /** Why this entry is refused, if it is. */
  check(entry: Entry): Objection | undefined {
    const { act, phase, id } = entry;
    if (phase === 'done' && BIRTHS.has(act)) this.deposited(entry);
    if (act !== 'key.drill') return undefined;
    if (phase === 'attempted') return this.#attempted(entry);
    const begun = this.#begun.get(id);
    this.#begun.delete(id);
    return phase === 'done' && begun !== undefined ? checkResults(entry, begun) : undefined;
  }

  /** Takes an entry by which keys were born or sealed anew. */
  deposited(entry: Entry): void {
    const { key, keys = [], owner = '' } = entry.subject;
    for (const each of key === undefined ? keys : [key]) {
      const recorded = recordedDeposit(entry, each);
      if (recorded === undefined) continue;
      const known = this.#keys.at(hashOf(each));
      hashOf(owner).copy(known);
      known.writeUInt32LE(recorded.generation, NAME_BYTES);
      for (const [purpose, shares] of recorded.shares ?? []) {
        for (const [depositary, { end }] of shares) {
          const facts = this.#shares.at(nameOf(each, purpose, depositary));
          facts.fill(0);
          facts.writeUInt32LE(recorded.generation, GENERATION);
          if (end === undefined) continue;
          end.copy(facts);
          facts.writeUInt32LE(1, HAS_CHAIN);
        }
      }
    }
  }

  #attempted(entry: Entry): Objection | undefined {
    const { id, actor, detail, subject } = entry;
    const { statement } = detail;
    const jws = typeof statement === 'string' ? parseJws(statement) : undefined;
    const signed = jws?.header['typ'] === DRILL_TYPE ? listOf(jws.payload['drills'] as Json | undefined) : [];
    if (signed.length === 0) return { invented: `${actor} has signed no drill` };
    this.#begun.set(id, signed);
    const short = signed.map(({ key, purpose, generation, preimage }) => ({
      key,
      purpose,
      generation,
      preimage,
    }));
    const { keys = [] } = subject;
    if (!isSame(detail['drills'], short) || !isSame(keys, [...new Set(signed.map(({ key }) => key))])) {
      return { invented: `the drill of ${actor} is about other shares than they signed` };
    }
    const owner = hashOf(subject.owner ?? '');
    if (keys.some((key) => this.#keys.find(hashOf(key))?.subarray(0, NAME_BYTES).equals(owner) !== true)) {
      return `the drill of ${actor} is about keys of somebody else than it says`;
    }
    const drills = drillsSaidIn(signed);
    if (drills.length !== signed.length) return `the drill of ${actor} cannot be read`;
    const reasons = drills.map((drill) => this.#checkShown(actor, drill));
    const reason = reasons.find((one) => one !== undefined);
    if (reason !== undefined) return reason;
    for (const { key, purpose, preimage } of drills) {
      preimage?.copy(this.#shares.at(nameOf(key, purpose, actor)));
    }
    return undefined;
  }

  #checkShown(
    actor: string,
    { key, purpose, generation, preimage, result }: ReturnType<typeof drillsSaidIn>[number],
  ): string | undefined {
    if (this.#keys.find(hashOf(key))?.readUInt32LE(NAME_BYTES) !== generation) {
      return `${actor} drills a deposit of ${key} that is not the newest`;
    }
    const facts = this.#shares.find(nameOf(key, purpose, actor));
    if (facts === undefined) {
      // entries from before it was said to whom shares went say nothing of it
      return preimage === undefined
        ? undefined
        : `${actor} shows a hash of a chain of ${key} that it does not have`;
    }
    if (facts.readUInt32LE(GENERATION) !== generation)
      return `${actor} has no share of the newest deposit of ${key}`;
    const hasChain = facts.readUInt32LE(HAS_CHAIN) !== 0;
    if (preimage === undefined) {
      return hasChain && result === 'opened'
        ? `${actor} shows no hash of the chain of ${key}, and says that it opened`
        : undefined;
    }
    if (!hasChain) return `${actor} shows a hash of a chain of ${key} that it does not have`;
    return chainNext(preimage).equals(facts.subarray(0, VALUE_BYTES))
      ? undefined
      : `${actor} shows a hash for ${key} that is not the next of its chain`;
  }
}

/** What is said to have come of each share: the same as its depositary found, or worse. */
function checkResults(
  { actor, detail }: Entry,
  begun: readonly Readonly<Record<string, Json>>[],
): string | undefined {
  const results = listOf(detail['results']);
  const isOfAll =
    results.length === begun.length &&
    results.every(({ key, purpose, generation, result }, at) => {
      const drill = begun[at] ?? {};
      const isSameShare =
        drill['key'] === key && drill['purpose'] === purpose && drill['generation'] === generation;
      const isKnown = typeof result === 'string' && Object.hasOwn(DRILL_RESULTS, result);
      return isSameShare && isKnown && (drill['result'] === 'opened' || drill['result'] === result);
    });
  if (!isOfAll) return `something else came of the drill of ${actor} than they found`;
  const isShown = begun.every(
    ({ result, preimage }) => result === 'opened' || chainValue(preimage) === undefined,
  );
  return isShown ? undefined : `${actor} shows a hash of a chain that did not open`;
}

function nameOf(key: string, purpose: string, depositary: string): Buffer {
  return hashOf(`${key} ${purpose} ${depositary}`);
}

function hashOf(text: string): Buffer {
  return Buffer.from(sha256(Buffer.from(text))).subarray(0, NAME_BYTES);
}

function listOf(value: Json | undefined): readonly Readonly<Record<string, Json>>[] {
  return Array.isArray(value) ? (value as readonly Json[]).filter((each) => isJsonObject(each)) : [];
}

function isSame(one: unknown, other: unknown): boolean {
  return canonicalJson(one ?? null) === canonicalJson(other ?? null);
}
