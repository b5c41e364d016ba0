import { isKekFor, readKekLabel } from '../escrow/records/sealing/keks.js';
import { KEY_SPEC_NAMES, KEY_USES } from '../escrow/records/keySpecs.js';
import { PURPOSES } from '../escrow/records/policy.js';
import type { ResealPlan } from '../escrow/records/sealing/resealing.js';
import { type KeyKind, plannedKek } from '../escrow/rules/kekRotation.js';
import { type Json, isJsonObject } from '../log/entry/canonical.js';
import type { Entry } from '../log/entry/entry.js';
import { DigestTable } from './digestTable.js';

/** The key-encryption key of a key for each of its purposes. */
type Keks = Readonly<Record<string, string>>;
/** What a plan says of key-encryption keys. */
type KekPlan = Pick<ResealPlan, 'keks' | 'rotations' | 'unrotated'>;
/** What a key is, as the filing of a request says. */
type Said = { readonly spec: string; readonly use: string } | undefined;

/**
 * Under which key-encryption key each key lies, by what its birth and its reseals say: so a plan names those that its keys lie under
 * and rotates to newer ones of the same kind alone, and a reseal puts each key where the plan has it, under no other.
 *
 * Remembers the key-encryption keys of each key, once for all keys that have the same.
 */
export class KekEvidence {
  /** The place, counted from 1, in {@link #kinds} of those of each key. */
  readonly #places = new DigestTable();
  readonly #kinds: Keks[] = [];
  readonly #placeOf = new Map<string, number>();

  /** Takes note of what the outcome of a birth says; of one that says nothing, nothing is known. */
  born(key: string, { detail }: Entry): void {
    const { shares } = detail;
    const rows = Array.isArray(shares) ? (shares as readonly Json[]) : [];
    const keks = rows.flatMap((row) => {
      const { purpose, kek } = isJsonObject(row) ? row : {};
      return typeof purpose === 'string' && typeof kek === 'string' ? [[purpose, kek] as const] : [];
    });
    if (keks.length > 0) this.#note(key, Object.fromEntries(keks));
  }

  /** Why a plan for these keys is refused, if it is. */
  checkPlan(keys: readonly string[], plan: KekPlan): string | undefined {
    const { keks, rotations = [], unrotated = [] } = plan;
    const known = keys.map((key) => this.#of(key));
    const under = [...new Set(known.flatMap((of) => (of === undefined ? [] : Object.values(of))))].sort();
    const isWhole = known.every((of) => of !== undefined);
    if (isWhole && under.join(' ') !== keks.join(' '))
      return 'other key-encryption keys are named than the keys lie under';
    if (plan.rotations?.length === 0 || plan.unrotated?.length === 0)
      return 'a plan names no key-encryption keys';
    const isOther = [...rotations.map(({ from }) => from), ...unrotated].some((kek) => !keks.includes(kek));
    if (isOther) return 'key-encryption keys are to be rotated that no key lies under';
    const back = rotations.find(({ from, to }) => !isNewer(from, to));
    return back === undefined
      ? undefined
      : `${back.from} is to be rotated to ${back.to}, which is no newer one of its kind`;
  }

  /** Why a key that lies under these from now on is refused, if it is; and takes note of it. */
  resealed(key: string, plan: KekPlan, keks: Keks | undefined, said: Said): string | undefined {
    if ((plan.rotations === undefined) !== (keks === undefined))
      return 'not under the key-encryption keys that were planned';
    const before = this.#of(key);
    const kind = kindOf(said);
    if (keks === undefined || before === undefined || kind === undefined) return undefined;
    const isPlanned = Object.entries(before).every(([name, kek]) => {
      const purpose = PURPOSES.find((one) => one === name);
      return purpose !== undefined && keks[purpose] === plannedKek(plan, kek, { ...kind, purpose });
    });
    if (!isPlanned || Object.keys(keks).length !== Object.keys(before).length)
      return 'under other key-encryption keys than were planned';
    this.#note(key, keks);
    return undefined;
  }

  #of(key: string): Keks | undefined {
    return this.#kinds[(this.#places.get(key) ?? 0) - 1];
  }

  #note(key: string, keks: Keks): void {
    const name = JSON.stringify(Object.entries(keks).sort());
    const place = this.#placeOf.get(name) ?? this.#kinds.push(keks);
    this.#placeOf.set(name, place);
    this.#places.set(key, place);
  }
}

/** A newer one of the same kind; or one of a kind in the place of one that is for all kinds of its purpose. */
function isNewer(from: string, to: string): boolean {
  const [old, next] = [readKekLabel(from), readKekLabel(to)];
  if (old === undefined || next?.kind === undefined || !isKekFor(from, next.kind)) return false;
  return old.kind === undefined || next.version > old.version;
}

function kindOf(said: Said): KeyKind | undefined {
  const spec = KEY_SPEC_NAMES.find((one) => one === said?.spec);
  const use = KEY_USES.find((one) => one === said?.use);
  return spec === undefined || use === undefined ? undefined : { spec, use };
}
