import type { Call, Escrow } from './context.js';
import { actorOf, getDeposit, getOpenRecovery } from './context.js';
import { layerContext, sha256Hex } from './digests.js';
import type { Deposit, PurposeDeposit, Share } from './deposit.js';
import { brakesOf, getPurposeDeposit } from './deposit.js';
import { EscrowError } from './errors.js';
import type { PrincipalId, RecoveryId } from './ids.js';
import { aloneOn } from './journal.js';
import type { Change, Subject } from './journal.js';
import type { Approval, Recovery, RecoveryState } from './recovery.js';
import { approvalsAt } from './recovery.js';
import { activateOnQuorum } from './recoverKey.js';
import type { Sealed } from './sealed.js';
import { checkStatement } from './statement.js';
import type { Detail, Performed } from './performance.js';

/** Length of a ciphertext of the transport key (RSA-3072), in bytes. */
const REPLY_BYTES = 384;

/**
 * A depositary approves: their signed statement, and their share re-encrypted to the transport key, which the token
 * checks at once. When this completes a quorum for `operate`, the key is brought back in the same call.
 *
 * @throws EscrowError `recovery-unknown`, `recovery-ended`, `recovery-expired`, `quorum-complete`, `forbidden`,
 *   `approval-duplicate`, `approval-signature-invalid`, `approval-mismatch`, `approval-expired`, `approval-too-long`,
 *   `share-malformed`, `share-wrong-key`, `share-mismatch`.
 */
export async function approveRecovery(
  escrow: Escrow,
  call: Call,
  order: { readonly recovery: RecoveryId; readonly statement: string; readonly reply: Sealed<'transport'> },
): Promise<Performed<Recovery>> {
  const decided = await escrow.ledger.perform({
    act: 'recovery.approve',
    actor: actorOf(call),
    decide: async (about) => {
      const found = await getUndecided(escrow, call.caller.id, order.recovery, about);
      const { recovery } = found;
      if (found.status === 'approved') throw new EscrowError('quorum-complete');
      const { expiresAt } = await checkStatement(escrow, call.caller, recovery, order.statement, {
        approve: order.reply,
      });
      if (order.reply.length !== REPLY_BYTES) throw new EscrowError('share-malformed');
      return {
        detail: { requestHash: recovery.requestHash, statement: order.statement },
        claims: [aloneOn(recovery)],
        plan: { ...found, expiresAt },
      };
    },
    run: async (lent, { recovery, deposit, sealed, share, expiresAt }) => {
      const r = await lent.unwrapReply(recovery.id, order.reply);
      if ('refused' in r) throw new EscrowError('share-wrong-key');
      const place = layerContext(recovery.key, sealed.purpose, { depositary: share.depositary });
      const link = await lent.openUnder(r.opened, share.link, place, 'server-for');
      if ('refused' in link) throw new EscrowError('share-mismatch');
      const at = escrow.clock.now();
      const { statement, reply } = order;
      const { depositary } = share;
      const approvals = [
        // an approval of theirs that has expired gives way to the new one; the log has both
        ...recovery.approvals.filter((approval) => approval.depositary !== depositary),
        { depositary, statement, reply, at, expiresAt },
      ];
      const complete = completion(sealed, approvalsAt({ approvals }, at));
      const { delayMs } = brakesOf(deposit, sealed.purpose);
      const state: RecoveryState =
        complete === undefined
          ? { status: 'pending' }
          : {
              status: 'approved',
              releasableAt: new Date(at.getTime() + delayMs),
              holdsUntil: complete.holdsUntil,
            };
      const approved: Recovery = { ...recovery, revision: recovery.revision + 1, approvals, state };
      return {
        detail: { expiresAt: expiresAt.toISOString(), ...stateFacts(state), ...quorumFact(complete) },
        digest: sha256Hex(order.reply),
        changes: [{ change: 'recovery-saved', recovery: approved }],
        answer: approved,
      };
    },
  });
  return { answer: await activateOnQuorum(escrow, decided.answer, decided.index), index: decided.index };
}

/**
 * A depositary denies, with a signed reason. The request ends when as many have as the rule says, or when no quorum is
 * left that could still agree. Where the rule gives no number, a quorum that is complete is not undone by a denial; where
 * it does, denials count until the delay is over.
 *
 * @throws EscrowError as {@link approveRecovery}, but for the share.
 */
export function denyRecovery(
  escrow: Escrow,
  call: Call,
  order: { readonly recovery: RecoveryId; readonly statement: string },
): Promise<Performed<Recovery>> {
  return escrow.ledger.perform({
    act: 'recovery.deny',
    actor: actorOf(call),
    decide: async (about) => {
      const found = await getUndecided(escrow, call.caller.id, order.recovery, about);
      const { recovery, deposit, status } = found;
      if (status === 'approved' && deposit.requests.denialsToEnd === undefined) {
        throw new EscrowError('quorum-complete');
      }
      const { reason } = await checkStatement(escrow, call.caller, recovery, order.statement, 'deny');
      return {
        detail: { requestHash: recovery.requestHash, statement: order.statement, reason },
        claims: [aloneOn(recovery)],
        plan: { ...found, reason },
      };
    },
    run: (lent, { recovery, deposit, sealed, reason }) => {
      const at = escrow.clock.now();
      const denial = { depositary: call.caller.id, statement: order.statement, reason, at };
      const denials = [...recovery.denials, denial];
      const isOver =
        denials.length >= (deposit.requests.denialsToEnd ?? Infinity) ||
        isHopeless(
          recovery,
          deposit,
          sealed,
          denials.map(({ depositary }) => depositary),
        );
      const state: RecoveryState = isOver
        ? { status: 'denied', by: call.caller.id, reason, at }
        : recovery.state;
      const denied: Recovery = { ...recovery, revision: recovery.revision + 1, denials, state };
      return Promise.resolve({
        detail: { status: state.status },
        digest: sha256Hex(order.statement),
        changes: [saved(denied)],
        answer: denied,
        ...(isOver ? { cleanup: () => lent.destroyTransport(recovery.id) } : {}),
      });
    },
  });
}

/**
 * The owner stops what is asked for, where the rule lets them, at any time before the key is back.
 *
 * @throws EscrowError `recovery-unknown`, `recovery-ended`, `recovery-expired`, `forbidden`, `veto-not-allowed`.
 */
export function vetoRecovery(
  escrow: Escrow,
  call: Call,
  order: { readonly recovery: RecoveryId; readonly reason: string },
): Promise<Performed<Recovery>> {
  return end(escrow, call, order, 'recovery.veto', 'vetoed', async (recovery) => {
    if (recovery.owner !== call.caller.id) throw new EscrowError('forbidden');
    const { ownerMayVeto } = brakesOf(await getDeposit(escrow, recovery.key), recovery.asked.purpose);
    if (!ownerMayVeto) throw new EscrowError('veto-not-allowed');
  });
}

/**
 * The requester takes the request back.
 *
 * @throws EscrowError `recovery-unknown`, `recovery-ended`, `recovery-expired`, `forbidden`.
 */
export function cancelRecovery(
  escrow: Escrow,
  call: Call,
  order: { readonly recovery: RecoveryId; readonly reason: string },
): Promise<Performed<Recovery>> {
  return end(escrow, call, order, 'recovery.cancel', 'cancelled', (recovery) => {
    if (recovery.requester !== call.caller.id) throw new EscrowError('forbidden');
    return Promise.resolve();
  });
}

function end(
  escrow: Escrow,
  call: Call,
  order: { readonly recovery: RecoveryId; readonly reason: string },
  act: 'recovery.veto' | 'recovery.cancel',
  status: 'vetoed' | 'cancelled',
  check: (recovery: Recovery) => Promise<void>,
): Promise<Performed<Recovery>> {
  return escrow.ledger.perform({
    act,
    actor: actorOf(call),
    decide: async (about) => {
      const { recovery } = await getOpenRecovery(escrow, order.recovery, about);
      await check(recovery);
      return {
        detail: { reason: order.reason, requestHash: recovery.requestHash },
        claims: [aloneOn(recovery)],
        plan: recovery,
      };
    },
    run: (lent, recovery) => {
      const state: RecoveryState = {
        status,
        by: call.caller.id,
        reason: order.reason,
        at: escrow.clock.now(),
      };
      const ended: Recovery = { ...recovery, revision: recovery.revision + 1, state };
      return Promise.resolve({
        detail: { status },
        digest: recovery.requestHash,
        changes: [saved(ended)],
        answer: ended,
        cleanup: () => lent.destroyTransport(recovery.id),
      });
    },
  });
}

interface Undecided {
  readonly recovery: Recovery;
  readonly status: 'pending' | 'approved';
  readonly deposit: Deposit;
  readonly sealed: PurposeDeposit;
  readonly share: Share;
}

/** An open request that this depositary has a share in, and no say that still counts. */
async function getUndecided(
  escrow: Escrow,
  depositary: PrincipalId,
  id: RecoveryId,
  about: (subject: Subject) => void,
): Promise<Undecided> {
  const { recovery, status } = await getOpenRecovery(escrow, id, about);
  const deposit = await getDeposit(escrow, recovery.key);
  const sealed = getPurposeDeposit(deposit, recovery.asked.purpose);
  const share = sealed.shares.find((candidate) => candidate.depositary === depositary);
  // no share is ever made for an owner; should one be found, it counts for nothing
  if (share === undefined || depositary === deposit.owner) throw new EscrowError('forbidden');
  if (!mayDecide(recovery, deposit, depositary)) {
    throw new EscrowError('forbidden', 'The rule of this key does not let the requester decide.');
  }
  const counting = [...approvalsAt(recovery, escrow.clock.now()), ...recovery.denials];
  if (counting.some((one) => one.depositary === depositary)) throw new EscrowError('approval-duplicate');
  return { recovery, status, deposit, sealed, share };
}

/** Whether the rule lets this depositary decide on a request of this requester. */
export function mayDecide(
  { requester }: Pick<Recovery, 'requester'>,
  { requests }: Pick<Deposit, 'requests'>,
  depositary: PrincipalId,
): boolean {
  return requester !== depositary || !requests.distinct.includes('requester-depositary');
}

/** Whether every quorum has somebody who has denied, or may not approve. */
function isHopeless(
  recovery: Recovery,
  deposit: Deposit,
  { quorums }: PurposeDeposit,
  against: readonly PrincipalId[],
): boolean {
  return quorums.every(({ members }) =>
    members.some((member) => against.includes(member) || !mayDecide(recovery, deposit, member)),
  );
}

/** The complete quorum whose approvals hold the longest, and until when: the first of them to expire. */
function completion(
  { quorums }: PurposeDeposit,
  approvals: readonly Approval[],
): { readonly members: readonly PrincipalId[]; readonly holdsUntil: Date } | undefined {
  const until = new Map(approvals.map(({ depositary, expiresAt }) => [depositary, expiresAt.getTime()]));
  const complete = quorums
    .filter(({ members }) => members.every((member) => until.has(member)))
    .map(({ members }) => ({
      members,
      untilMs: Math.min(...members.map((member) => until.get(member) ?? 0)),
    }));
  const [longest] = complete.sort((a, b) => b.untilMs - a.untilMs);
  return longest && { members: longest.members, holdsUntil: new Date(longest.untilMs) };
}

function quorumFact(complete: { readonly members: readonly PrincipalId[] } | undefined): Detail {
  return complete === undefined ? {} : { quorum: complete.members };
}

/** A state as the log has it. */
function stateFacts(state: RecoveryState): Detail {
  if (state.status !== 'approved') return { status: state.status };
  return {
    status: state.status,
    releasableAt: state.releasableAt.toISOString(),
    holdsUntil: state.holdsUntil.toISOString(),
  };
}

function saved(recovery: Recovery): Change {
  return { change: 'recovery-saved', recovery };
}
