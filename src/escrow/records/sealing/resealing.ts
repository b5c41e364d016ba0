import { type Json, isJsonObject } from '../../../log/entry/canonical.js';
import type { KeyId, PrincipalId } from '../ids.js';
import type { Quorum } from '../quorum.js';

/** Keys that lie under the key-encryption key `from` are put under `to`. */
export interface KekRotation {
  readonly from: string;
  readonly to: string;
}

/**
 * Whom keys are to be sealed to anew: who can bring each of them back from then on. What they can be brought back for, and on what
 * terms, stays as it was deposited.
 */
export interface ResealPlan {
  /** The first rule of the policy that is for each of these keys. */
  readonly rule: string;
  readonly quorums: readonly Quorum[];
  /** Everybody in these, in lexical order, with the SHA-256 (hex) of the DER SubjectPublicKeyInfo of their key. */
  readonly recipients: readonly { readonly depositary: PrincipalId; readonly fingerprint: string }[];
  /** Which generation of the deposit of each key is replaced. */
  readonly from: Readonly<Record<KeyId, number>>;
  /** The key-encryption keys that the keys lie under, in lexical order. They stay under those that are not rotated. */
  readonly keks: readonly string[];
  /** Which of them are rotated, in lexical order; absent where none is, as in every plan from before they could be. */
  readonly rotations?: readonly KekRotation[];
  /** Those of them that there is a newer one of, and that cannot be rotated, in lexical order; absent where there is none. */
  readonly unrotated?: readonly string[];
}

/** A plan as canonical JSON: in the entry of a filing, and its SHA-256 in what is hashed and signed. */
export function resealPlanAsJson({
  rule,
  quorums,
  recipients,
  from,
  keks,
  rotations,
  unrotated,
}: ResealPlan): Json {
  return {
    ...{ rule, quorums, keks },
    recipients: recipients.map((each) => ({ ...each })),
    from: { ...from },
    // absent, not empty: the hash of a plan from before is what it was
    ...(rotations === undefined ? {} : { rotations: rotations.map((each) => ({ ...each })) }),
    ...(unrotated === undefined ? {} : { unrotated }),
  };
}

/** What the entry of a reseal says of each key: its new deposit, and the hash of each share of it. */
export interface ResealedKey {
  readonly generation: number;
  /** Index of the entry that recorded the deposit which it replaces. */
  readonly previous: number;
  /** SHA-256 (hex) of the deposit. */
  readonly digest: string;
  /** SHA-256 (hex) of each share, by purpose and depositary. */
  readonly shares: Readonly<Record<string, Readonly<Record<string, string>>>>;
  /** The end of the chain of its drills (base64url), likewise; not given in entries from before there were any. */
  readonly drills?: Readonly<Record<string, Readonly<Record<string, string>>>>;
  /** The key-encryption key that it lies under from then on, by purpose, where the plan had any rotated. */
  readonly keks?: Readonly<Record<string, string>>;
}

/** The same of all keys of a reseal, as its entry has it. */
export function resealedAsJson(keys: ReadonlyMap<string, ResealedKey>): Json {
  return Object.fromEntries(
    [...keys].map(([key, { shares, drills, keks, ...same }]) => [
      key,
      {
        ...same,
        shares: { ...shares },
        ...(drills === undefined ? {} : { drills: { ...drills } }),
        ...(keks === undefined ? {} : { keks: { ...keks } }),
      },
    ]),
  );
}

/** What an entry says of the keys that were sealed anew; of what it does not say in this form, nothing. */
export function resealedIn(keys: Json | undefined): ReadonlyMap<string, ResealedKey> {
  const found = Object.entries(membersOf(keys)).flatMap(([key, said]) => {
    const { generation, previous, digest, shares, drills, keks } = membersOf(said);
    const isSaid =
      Number.isSafeInteger(generation) && Number.isSafeInteger(previous) && typeof digest === 'string';
    if (!isSaid || !/^[0-9a-f]{64}$/.test(digest)) return [];
    const same = { generation: Number(generation), previous: Number(previous), digest };
    const ends = drills === undefined ? {} : { drills: textsByPurpose(drills) };
    const under = keks === undefined ? {} : { keks: textsIn(keks) };
    return [[key, { ...same, shares: textsByPurpose(shares), ...ends, ...under }] as const];
  });
  return new Map(found);
}

function textsByPurpose(value: Json | undefined): Readonly<Record<string, Readonly<Record<string, string>>>> {
  return Object.fromEntries(Object.entries(membersOf(value)).map(([purpose, of]) => [purpose, textsIn(of)]));
}

function textsIn(value: Json | undefined): Readonly<Record<string, string>> {
  return Object.fromEntries(
    Object.entries(membersOf(value)).flatMap(([name, text]) =>
      typeof text === 'string' ? [[name, text] as const] : [],
    ),
  );
}

function membersOf(value: Json | undefined): Readonly<Record<string, Json>> {
  return value !== undefined && isJsonObject(value) ? value : {};
}
