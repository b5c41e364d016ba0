import { kindsOf, namesOf, ownersOf } from './ownerKinds.js';
import type { Policy } from '../records/policy.js';

/** No quorum has fewer depositaries, unless the signed policy says so: a quorum of one is one person who decides alone. */
export const USUAL_MINIMUM_QUORUM = 2;

/**
 * The rules of a policy by which a key of an owner whom it lists could be brought back by fewer than `minimum` depositaries:
 * sentences. Quorums are worked out as they would be for a key made now. Pure.
 */
export function smallQuorums(policy: Policy, minimum: number): readonly string[] {
  return kindsOf(policy, ownersOf(policy)).kinds.flatMap(({ rule, owners, said }) => {
    if ('error' in said) return [];
    const [smallest = []] = [...said.quorums].sort((a, b) => a.length - b.length);
    if (smallest.length >= minimum) return [];
    const who =
      smallest.length === 1 ? `${smallest.join()} alone suffices` : `${smallest.join(' and ')} suffice`;
    return [`rule ${rule.name}, for ${namesOf(owners)}: ${who}`];
  });
}
