import type { AskedKey } from './requestTerms.js';
import { brakesOfAll, mayDecide } from './requestTerms.js';
import type { Json } from '../../log/entry/canonical.js';
import { isDepositaryOf } from '../records/deposit.js';
import type { KeyId, PrincipalId } from '../records/ids.js';
import type { Quorum } from '../records/quorum.js';
import type { Approval, Denial, Recovery } from '../records/recovery.js';

/** One complete quorum for each key of a request. */
export interface Completion {
  readonly quorums: readonly { readonly key: KeyId; readonly members: Quorum }[];
  /** Until the first of their approvals expires. */
  readonly holdsUntil: Date;
}

/** The complete quorum of each key whose approvals hold the longest; undefined as long as one key has none. */
export function completion(
  keys: readonly AskedKey[],
  approvals: readonly Approval[],
): Completion | undefined {
  const until = new Map(approvals.map(({ depositary, expiresAt }) => [depositary, expiresAt.getTime()]));
  const complete = keys.flatMap(({ deposit, sealed }) => {
    const [longest] = sealed.quorums
      .filter(({ members }) => members.every((member) => until.has(member)))
      .map(({ members }) => ({
        key: deposit.key,
        members,
        untilMs: Math.min(...members.map((member) => until.get(member) ?? 0)),
      }))
      .sort((a, b) => b.untilMs - a.untilMs);
    return longest ?? [];
  });
  if (complete.length < keys.length) return undefined;
  return {
    quorums: complete.map(({ key, members }) => ({ key, members })),
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
export function quorumsAsJson(quorums: Completion['quorums']): Json {
  return Object.fromEntries(quorums.map(({ key, members }) => [key, members]));
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
