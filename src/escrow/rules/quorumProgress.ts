import { type AskedKey, brakesOfAll, mayDecide } from './requestTerms.js';
import type { Json } from '../../log/entry/canonical.js';
import { type SealedQuorum, isDepositaryOf } from '../records/deposit.js';
import type { PrincipalId } from '../records/ids.js';
import type { Approval, Denial, Recovery } from '../records/recovery.js';

/** A key of a request, and the quorum of it that has agreed. */
export interface CompleteKey extends AskedKey {
  readonly quorum: SealedQuorum;
}

/** The keys of a request in their order, each with its complete quorum. */
export interface Completion {
  readonly keys: readonly CompleteKey[];
  /** Until the first of their approvals expires. */
  readonly holdsUntil: Date;
}

/**
 * The complete quorum of each key whose approvals hold the longest; of those that hold as long, the first. Undefined as long as one
 * key has none. It is the one that an approval logs and that the key is brought back by.
 */
export function completion(
  keys: readonly AskedKey[],
  approvals: readonly Approval[],
): Completion | undefined {
  const until = new Map(approvals.map(({ depositary, expiresAt }) => [depositary, expiresAt.getTime()]));
  const complete = keys.flatMap((key) => {
    const [longest] = key.sealed.quorums
      .filter(({ members }) => members.every((member) => until.has(member)))
      .map((quorum) => ({
        key: { ...key, quorum },
        untilMs: Math.min(...quorum.members.map((member) => until.get(member) ?? 0)),
      }))
      .sort((a, b) => b.untilMs - a.untilMs);
    return longest ?? [];
  });
  if (complete.length < keys.length) return undefined;
  return {
    keys: complete.map(({ key }) => key),
    holdsUntil: new Date(Math.min(...complete.map(({ untilMs }) => untilMs))),
  };
}

/** Somebody's intent, and when it was recorded. */
export interface TimedIntent {
  readonly depositary: PrincipalId;
  readonly atMs: number;
}

/**
 * From when this depositary's replies are taken, in milliseconds since 1970: the longest delay after a quorum of intents was
 * complete for each key, one that they are in for each key that they have a share of. Undefined as long as one key has none. With
 * nobody, any quorum will do: then it is from when the first of them can be taken.
 */
export function repliesFromMs(
  keys: readonly AskedKey[],
  intents: readonly TimedIntent[],
  depositary?: PrincipalId,
): number | undefined {
  const at = new Map(intents.map((intent) => [intent.depositary, intent.atMs]));
  const complete = keys.map(({ sealed }) => {
    const mustBeIn = depositary !== undefined && isDepositaryOf(sealed, depositary);
    const times = sealed.quorums
      .filter(({ members }) => !mustBeIn || members.includes(depositary))
      .filter(({ members }) => members.every((member) => at.has(member)))
      .map(({ members }) => Math.max(...members.map((member) => at.get(member) ?? Infinity)));
    return Math.min(...times);
  });
  const fromMs = Math.max(...complete) + brakesOfAll(keys).delayMs;
  return Number.isFinite(fromMs) ? fromMs : undefined;
}

/** Who agrees for each key, as the log has it. */
export function quorumsAsJson(keys: readonly CompleteKey[]): Json {
  return Object.fromEntries(keys.map(({ deposit, quorum }) => [deposit.key, quorum.members]));
}

/**
 * Whether denials have ended a request: for one of its keys as many of its depositaries have denied as its rule says, or no
 * quorum of it is left whose members could all agree. Without that key there is nothing to approve.
 */
export function isDenied(recovery: Recovery, keys: readonly AskedKey[], denials: readonly Denial[]): boolean {
  const against = denials.map(({ depositary }) => depositary);
  const isOut = (member: PrincipalId): boolean =>
    against.includes(member) || !mayDecide(recovery, keys, member);
  return keys.some(({ deposit, sealed }) => {
    const count = against.filter((depositary) => isDepositaryOf(sealed, depositary)).length;
    return (
      count >= (deposit.requests.denialsToEnd ?? Infinity) ||
      sealed.quorums.every(({ members }) => members.some(isOut))
    );
  });
}
