import type { DepositGroup } from '../records/depositedQuorums.js';
import type { Policy, Purpose } from '../records/policy.js';
import type { HeldKek } from '../ports/token.js';
import { isMissing } from './kekRotation.js';
import type { EnrolledKeys } from './explain.js';
import {
  type Coverage,
  type LiveQuorums,
  COVERAGES,
  coverageOf,
  liveQuorums,
  worstOf,
} from './liveQuorums.js';

/** What a change of the directory does to a key for one purpose for which it is covered worse then. */
export interface Loss {
  readonly purpose: Purpose;
  readonly before: Coverage;
  readonly after: Coverage;
  /** Who can bring it back then. */
  readonly left: LiveQuorums;
}

/** Keys that were deposited alike, and are covered worse then: for one purpose, or for more. */
export interface LosingGroup {
  readonly group: DepositGroup;
  readonly losses: readonly Loss[];
}

/** What a change of the directory does to the keys that there are: how many are left in each way that is worse than before. */
export interface Losses {
  /** Keys without any live quorum for a purpose, which had one. */
  readonly lost: number;
  readonly oneQuorum: number;
  readonly singlePoint: number;
  readonly groups: readonly LosingGroup[];
}

/** What the token has, as far as it decides who can bring keys back; undefined while it is out: nothing is said of it. */
export interface InToken {
  readonly enrolled: EnrolledKeys;
  readonly keks: readonly HeldKek[] | undefined;
}

/**
 * Which keys a policy leaves covered worse than the one before it, as the token is now. A key is counted once, as it is for the
 * purpose for which it is left worst; one under a key-encryption key that the token does not hold is lost already, and by no policy.
 * Pure; as long as there are ways in which keys were deposited, not keys.
 */
export function lossesOf(
  deposited: readonly DepositGroup[],
  before: Pick<Policy, 'principals'>,
  after: Pick<Policy, 'principals'>,
  inToken: InToken,
): Losses {
  const groups = deposited.flatMap((group): readonly LosingGroup[] => {
    const losses = lossesOfOne(group, before, after, inToken);
    return losses.length === 0 ? [] : [{ group, losses }];
  });
  const left = (coverage: Coverage): number =>
    groups
      .filter(({ losses }) => worstOf(losses.map((loss) => loss.after)) === coverage)
      .reduce((sum, { group }) => sum + group.keys, 0);
  return { lost: left('lost'), oneQuorum: left('one-quorum'), singlePoint: left('single-point'), groups };
}

/** The same of keys that were deposited in one way: for which purposes it is worse. */
export function lossesOfOne(
  { purposes }: Pick<DepositGroup, 'purposes'>,
  before: Pick<Policy, 'principals'>,
  after: Pick<Policy, 'principals'>,
  { enrolled, keks }: InToken,
): readonly Loss[] {
  return purposes.flatMap((deposited) => {
    if (isMissing(deposited.kek, keks)) return [];
    const was = coverageOf(liveQuorums(deposited, before, enrolled));
    const left = liveQuorums(deposited, after, enrolled);
    const is = coverageOf(left);
    const isWorse = COVERAGES.indexOf(is) < COVERAGES.indexOf(was);
    return isWorse ? [{ purpose: deposited.purpose, before: was, after: is, left }] : [];
  });
}
