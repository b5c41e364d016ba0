import type { CoveredKeyReply } from '../../api/replies.js';
import { isKnown } from '../../api/reading.js';
import { type KekState, KEK_STATES } from '../../escrow/rules/kekRotation.js';

type State = KekState['is'];

/** What becomes of a key where its key-encryption key is concerned, in words. */
export const KEK_STATE_WORDS = {
  newest: 'the newest',
  rotatable: 'a reseal rotates it',
  'not-rotatable': 'cannot be rotated',
  missing: 'not in the token: these are lost',
} as const satisfies Record<State, string>;

/** How many keys lie under a key-encryption key, and what becomes of them. */
export interface KekTally {
  readonly kek: string;
  readonly keys: number;
  /** Undefined while the token is out, or the server is of a version that says nothing of it. */
  readonly state: State | undefined;
}

/** The key-encryption keys that keys lie under, in lexical order; a key with two purposes lies under two. */
export function keksOf(keys: readonly CoveredKeyReply[]): readonly KekTally[] {
  const tallies = new Map<string, KekTally>();
  for (const { purposes } of keys) {
    for (const { kek, kekState } of purposes) {
      const state = kekState !== undefined && isKnown(KEK_STATES, kekState) ? kekState : undefined;
      const name = `${kek} ${state ?? ''}`;
      tallies.set(name, { kek, keys: (tallies.get(name)?.keys ?? 0) + 1, state });
    }
  }
  return [...tallies].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, tally]) => tally);
}

/** What becomes of them, in words. */
export function kekStateInWords(state: State | undefined): string {
  return state === undefined ? 'not known' : KEK_STATE_WORDS[state];
}

/** Of a key for one purpose: that its key-encryption key is not in the token; undefined where that is not said. */
export function kekMissingInWords({
  kek,
  kekState,
}: {
  readonly kek?: string;
  readonly kekState?: string | undefined;
}): string | undefined {
  return kekState === 'missing' && kek !== undefined ? `the token does not hold ${kek}` : undefined;
}
