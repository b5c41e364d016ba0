import type { DepositedQuorums } from '../records/depositedQuorums.js';
import type { PrincipalId } from '../records/ids.js';
import type { Policy, Purpose } from '../records/policy.js';
import { hasRole } from '../records/principals.js';
import type { Quorum } from '../records/quorum.js';
import type { EnrolledKeys } from './explain.js';
import { depositariesIn } from './quorums.js';

/** Why a depositary of a deposit can agree no more, in words that follow their id. */
export const INABILITIES = {
  'not-listed': 'is not in the directory',
  'not-depositary': 'is no depositary',
  'no-signing-key': 'has no signing key',
  'not-enrolled': 'is not enrolled in the token',
  'other-key': 'has another key than the one that the share went to',
} as const satisfies Record<string, string>;

export type Inability = keyof typeof INABILITIES;

/** The server takes nothing that they sign. Of the others it cannot know whether they have the key that their share went to. */
const GONE: ReadonlySet<Inability> = new Set<Inability>(['not-listed', 'not-depositary', 'no-signing-key']);

export interface UnableDepositary {
  readonly depositary: PrincipalId;
  readonly because: Inability;
}

/** Who can bring a key back for one purpose, as things are. */
export interface LiveQuorums {
  readonly purpose: Purpose;
  /** Those of its quorums of which everybody is listed and enrolled with the key that their share went to. */
  readonly live: readonly Quorum[];
  /** Those of whom nobody is known to be gone: the live ones, and those who may have kept the key that their share went to. */
  readonly conceivable: readonly Quorum[];
  /** Who is in every live quorum, in lexical order. */
  readonly singlePoints: readonly PrincipalId[];
  /** Who cannot agree any more, of those who are in its quorums; in lexical order. */
  readonly unable: readonly UnableDepositary[];
}

/** Those of them of whom the server takes nothing, whatever keys they have kept. */
export function goneAmong(unable: readonly UnableDepositary[]): readonly UnableDepositary[] {
  return unable.filter(({ because }) => GONE.has(because));
}

/**
 * Which quorums of a deposit are live under a policy. One who is retired decides on what there is. Pure.
 *
 * @param enrolled undefined when the token was not asked: then nothing is said of it
 */
export function liveQuorums(
  { purpose, quorums, recipients }: DepositedQuorums,
  policy: Pick<Policy, 'principals'>,
  enrolled: EnrolledKeys,
): LiveQuorums {
  const unable = depositariesIn(quorums).flatMap((depositary) => {
    const because = inabilityOf(depositary, recipients.get(depositary), policy, enrolled);
    return because === undefined ? [] : [{ depositary, because }];
  });
  const cannot = new Set(unable.map(({ depositary }) => depositary));
  const gone = new Set(goneAmong(unable).map(({ depositary }) => depositary));
  const without = (out: ReadonlySet<PrincipalId>): readonly Quorum[] =>
    quorums.filter((members) => members.length > 0 && !members.some((member) => out.has(member)));
  const live = without(cannot);
  return {
    purpose,
    live,
    conceivable: without(gone),
    singlePoints: depositariesIn(live).filter((one) => live.every((members) => members.includes(one))),
    unable,
  };
}

function inabilityOf(
  id: PrincipalId,
  recipient: string | undefined,
  { principals }: Pick<Policy, 'principals'>,
  enrolled: EnrolledKeys,
): Inability | undefined {
  const person = principals.get(id);
  if (person === undefined) return 'not-listed';
  if (!hasRole(person, 'depositary')) return 'not-depositary';
  if (person.keys.length === 0) return 'no-signing-key';
  const inToken = enrolled?.get(id);
  if (enrolled !== undefined && inToken === undefined) return 'not-enrolled';
  if (recipient === undefined) return undefined;
  const isSame = person.depositaryKey === recipient && (inToken ?? recipient) === recipient;
  return isSame ? undefined : 'other-key';
}

/** How well a key is covered for one purpose, the worst first. */
export const COVERAGES = ['lost', 'one-quorum', 'single-point', 'covered'] as const;
/**
 * `lost`: no live quorum; `one-quorum`: a single one; `single-point`: several, and somebody is in all of them; `covered`: anybody
 * can be spared.
 */
export type Coverage = (typeof COVERAGES)[number];

export function coverageOf({ live, singlePoints }: Pick<LiveQuorums, 'live' | 'singlePoints'>): Coverage {
  if (live.length === 0) return 'lost';
  if (live.length === 1) return 'one-quorum';
  return singlePoints.length > 0 ? 'single-point' : 'covered';
}

/** That of the purpose for which the key is covered worst. */
export function worstOf(coverages: readonly Coverage[]): Coverage {
  return COVERAGES.find((each) => coverages.includes(each)) ?? 'lost';
}

/** So many names fit into what a problem says. */
const MAX_NAMED = 8;

/** Who cannot agree any more, and why: `otto is not in the directory, zed has no signing key`; of many, the first. */
export function unableInWords(unable: readonly UnableDepositary[]): string {
  const more = unable.length - MAX_NAMED;
  const named = unable
    .slice(0, MAX_NAMED)
    .map(({ depositary, because }) => `${depositary} ${INABILITIES[because]}`);
  return `${named.join(', ')}${more > 0 ? ` and ${more} more` : ''}`;
}
