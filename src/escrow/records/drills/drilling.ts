import { createHash, hash } from 'node:crypto';

import { type Json, isJsonObject } from '../../../log/entry/canonical.js';
import type { Entry } from '../../../log/entry/entry.js';
import { BIRTHS } from '../creation.js';
import type { KeyId } from '../ids.js';
import type { Purpose } from '../policy.js';
import { resealedIn } from '../sealing/resealing.js';

/*
 * A drill proves that a share and its link open without giving either away. Who opens the link has the bytes that are in it, and
 * from them a chain of hashes: the entry of the deposit has its end, each drill shows the hash before the one that was shown
 * last. What is in the link stands in no database; the host has seen it when it sealed.
 */

/** So often can one share of one deposit be drilled: then the key has to be sealed anew. */
export const DRILLS = 256;
/** Of a key with more depositaries the log has no room for the ends of their chains: its drills are not proven. */
export const MAX_CHAINED = 64;
/** A statement is about so many shares at most: it is no longer than any other. */
export const MAX_DRILLED = 12;
/** So many keys stand on one page of what can be drilled: each comes with the entry of its deposit. */
export const MAX_DRILL_PAGE = 50;

/** What came of a drill in the client of the depositary. */
export const DRILL_FINDINGS = {
  opened: 'the share and its link opened',
  'share-mismatch': 'the share shown is not the one that was recorded when the key was deposited',
  'share-unopened': 'the share does not open with the key of the depositary',
  'link-unopened':
    'the share opens, and the link does not: it is damaged, or of another deposit than is shown',
  'chain-mismatch': 'the link opens to something else than was sealed in it',
} as const;
export type DrillFinding = keyof typeof DRILL_FINDINGS;

/** What came of it altogether: what the daemon found counts where everything opened. */
export const DRILL_RESULTS = {
  ...DRILL_FINDINGS,
  'record-mismatch': 'what the database has of the deposit is not what was made',
  'server-key-missing': 'the token does not hold the key of the server regarding this depositary',
  'server-key-mismatch':
    'the key of the server regarding this depositary does not open what is wrapped under it',
} as const;
export type DrillResult = keyof typeof DRILL_RESULTS;

/** One share that was drilled, as its depositary says. */
export interface Drill {
  readonly key: KeyId;
  readonly purpose: Purpose;
  /** Which deposit of the key, from 1. */
  readonly generation: number;
  /** SHA-256 (hex) of the share and of the link that were shown. */
  readonly share: string;
  readonly link: string;
  readonly result: DrillFinding;
  /** The next hash of the chain, base64url; null when nothing opened, or the deposit has no chain. */
  readonly preimage: string | null;
}

/** Drills as canonical JSON: in the statement. */
export function drillsAsJson(drills: readonly Drill[]): Json {
  return drills.map(({ key, purpose, generation, share, link, result, preimage }) => ({
    ...{ key, purpose, generation, share, link, result, preimage },
  }));
}

/** What the log's state is made of; the statement has the rest. */
export function drillsInShort(drills: readonly Drill[]): Json {
  return drills.map(({ key, purpose, generation, preimage }) => ({ key, purpose, generation, preimage }));
}

/** What the entry of the outcome says of each share. */
export interface DrillOutcome {
  readonly key: string;
  readonly purpose: string;
  readonly generation: number;
  readonly result: string;
}

/** The hash that comes behind another in a chain. */
export function chainNext(value: Uint8Array): Buffer {
  return hash('sha256', value, 'buffer');
}

/** The end of the chain that starts from what is in a link: {@link DRILLS} hashes behind the first. */
export function chainEnd(opening: Uint8Array): Buffer {
  return chainFrom(opening, DRILLS);
}

/** What a drill shows that comes after so many others; undefined when all were shown. */
export function chainPreimage(opening: Uint8Array, used: number): Buffer | undefined {
  return used >= DRILLS ? undefined : chainFrom(opening, DRILLS - 1 - used);
}

function chainFrom(opening: Uint8Array, hashes: number): Buffer {
  let value: Buffer = createHash('sha256').update('drill').update(opening).digest();
  for (let made = 0; made < hashes; made += 1) value = chainNext(value);
  return value;
}

/** Whether `preimage` (base64url) is what comes before `shown` in a chain. */
export function isBefore(preimage: string, shown: Uint8Array): boolean {
  const value = chainValue(preimage);
  return value !== undefined && chainNext(value).equals(shown);
}

/** The bytes of a hash of a chain; undefined when the text is none. */
export function chainValue(text: Json | undefined): Buffer | undefined {
  return typeof text === 'string' && /^[A-Za-z0-9_-]{43}$/.test(text)
    ? Buffer.from(text, 'base64url')
    : undefined;
}

/** What the entry that recorded a deposit says of one share of it. */
export interface RecordedShare {
  /** SHA-256 (hex) of the share; undefined in entries from before it was recorded. */
  readonly share: string | undefined;
  /** The end of its chain; undefined in entries from before there were any. */
  readonly end: Buffer | undefined;
}

/** What an entry that recorded the deposit of a key says of it. */
export interface RecordedDeposit {
  readonly generation: number;
  readonly owner: string | undefined;
  /** SHA-256 (hex) of the deposit. */
  readonly digest: string | undefined;
  /** By purpose and depositary; undefined when the entry does not say to whom its shares went. */
  readonly shares: ReadonlyMap<string, ReadonlyMap<string, RecordedShare>> | undefined;
}

/** What an entry says of the deposit of this key; undefined when it recorded none. */
export function recordedDeposit(entry: Entry, key: string): RecordedDeposit | undefined {
  const { act, phase, subject, detail } = entry;
  if (phase !== 'done') return undefined;
  if (BIRTHS.has(act)) {
    if (subject.key !== key) return undefined;
    return {
      generation: 1,
      owner: subject.owner,
      digest: entry.digest,
      shares: sharesAtBirth(detail['shares']),
    };
  }
  const resealed = act === 'recovery.reseal' ? resealedIn(detail['keys']).get(key) : undefined;
  if (resealed === undefined) return undefined;
  const { generation, digest, shares, drills = {} } = resealed;
  const of = Object.entries(shares).map(([purpose, hashes]) => {
    const each = Object.entries(hashes).map(
      ([depositary, share]) =>
        [depositary, { share, end: chainValue(drills[purpose]?.[depositary]) }] as const,
    );
    return [purpose, new Map(each)] as const;
  });
  return { generation, owner: subject.owner, digest, shares: new Map(of) };
}

function sharesAtBirth(said: Json | undefined): RecordedDeposit['shares'] {
  if (said === undefined) return undefined;
  return new Map(
    membersOf(said).flatMap(({ purpose, recipients }) => {
      if (typeof purpose !== 'string') return [];
      const each = membersOf(recipients).flatMap(({ depositary, share, drill }) =>
        typeof depositary === 'string'
          ? [
              [
                depositary,
                { share: typeof share === 'string' ? share : undefined, end: chainValue(drill) },
              ] as const,
            ]
          : [],
      );
      return [[purpose, new Map(each)] as const];
    }),
  );
}

/** What an entry says of drills, in the form of {@link drillsInShort} or of outcomes; of what is in no such form, nothing. */
export function drillsSaidIn(said: Json | undefined): readonly (Pick<
  DrillOutcome,
  'key' | 'purpose' | 'generation'
> & {
  readonly preimage: Buffer | undefined;
  readonly result: string | undefined;
})[] {
  return membersOf(said).flatMap(({ key, purpose, generation, preimage, result }) => {
    const isSaid = typeof key === 'string' && typeof purpose === 'string' && Number.isSafeInteger(generation);
    if (!isSaid) return [];
    return [
      {
        ...{ key, purpose, generation: Number(generation) },
        preimage: chainValue(preimage),
        result: typeof result === 'string' ? result : undefined,
      },
    ];
  });
}

function membersOf(list: Json | undefined): readonly Readonly<Record<string, Json>>[] {
  return Array.isArray(list) ? (list as readonly Json[]).filter((each) => isJsonObject(each)) : [];
}
