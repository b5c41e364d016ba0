import type { Call, Escrow } from './context.js';
import { actorOf, getDeposit, getOpenRecovery } from './context.js';
import { layerContext, sha256Hex } from './digests.js';
import type { PurposeDeposit, Share } from './deposit.js';
import { getPurposeDeposit } from './deposit.js';
import { EscrowError } from './errors.js';
import type { PrincipalId, RecoveryId } from './ids.js';
import { aloneOn } from './journal.js';
import type { Change, Subject } from './journal.js';
import { completeQuorum } from './quorums.js';
import type { Recovery, RecoveryState } from './recovery.js';
import { activateOnQuorum } from './recoverKey.js';
import type { Sealed } from './sealed.js';
import { checkStatement } from './statement.js';
import type { Performed } from './performance.js';

/** Length of a ciphertext of the transport key (RSA-3072), in bytes. */
const REPLY_BYTES = 384;

/**
 * A depositary approves: their signed statement, and their share re-encrypted to the transport key, which the token
 * checks at once. When this completes a quorum for `operate`, the key is brought back in the same call.
 *
 * @throws EscrowError `recovery-unknown`, `recovery-ended`, `recovery-expired`, `quorum-complete`, `forbidden`,
 *   `approval-duplicate`, `approval-signature-invalid`, `approval-mismatch`, `approval-expired`, `share-malformed`,
 *   `share-wrong-key`, `share-mismatch`.
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
      const { recovery, deposit, share } = await getUndecided(escrow, call.caller.id, order.recovery, about);
      await checkStatement(escrow, call.caller, recovery, order.statement, { approve: order.reply });
      if (order.reply.length !== REPLY_BYTES) throw new EscrowError('share-malformed');
      return {
        detail: { requestHash: recovery.requestHash, statement: order.statement },
        claims: [aloneOn(recovery)],
        plan: { recovery, deposit, share },
      };
    },
    run: async (lent, { recovery, deposit, share }) => {
      const r = await lent.unwrapReply(recovery.id, order.reply);
      if ('refused' in r) throw new EscrowError('share-wrong-key');
      const place = layerContext(recovery.key, deposit.purpose, { depositary: share.depositary });
      const link = await lent.openUnder(r.opened, share.link, place, 'server-for');
      if ('refused' in link) throw new EscrowError('share-mismatch');
      const at = escrow.clock.now();
      const { statement, reply } = order;
      const approvals = [...recovery.approvals, { depositary: share.depositary, statement, reply, at }];
      const quorum = completeQuorum(deposit.quorums, new Set(approvals.map(({ depositary }) => depositary)));
      const delayMs = recovery.asked.purpose === 'release' ? await delayOf(escrow, recovery) : 0;
      const approved: Recovery = {
        ...recovery,
        revision: recovery.revision + 1,
        approvals,
        state:
          quorum === undefined
            ? { status: 'pending' }
            : { status: 'approved', releasableAt: new Date(at.getTime() + delayMs) },
      };
      return {
        detail: {
          status: approved.state.status,
          ...(quorum === undefined ? {} : { quorum: quorum.members }),
        },
        digest: sha256Hex(order.reply),
        changes: [{ change: 'recovery-saved', recovery: approved }],
        answer: approved,
      };
    },
  });
  return { answer: await activateOnQuorum(escrow, decided.answer, decided.index), index: decided.index };
}

/**
 * A depositary denies, with a signed reason. The request ends when no quorum is left that could still agree.
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
      const { recovery, deposit } = await getUndecided(escrow, call.caller.id, order.recovery, about);
      const reason = await checkStatement(escrow, call.caller, recovery, order.statement, 'deny');
      return {
        detail: { requestHash: recovery.requestHash, statement: order.statement, reason },
        claims: [aloneOn(recovery)],
        plan: { recovery, deposit, reason },
      };
    },
    run: (lent, { recovery, deposit, reason }) => {
      const at = escrow.clock.now();
      const denial = { depositary: call.caller.id, statement: order.statement, reason, at };
      const denials = [...recovery.denials, denial];
      const against = new Set(denials.map(({ depositary }) => depositary));
      const isHopeless = deposit.quorums.every(({ members }) =>
        members.some((member) => against.has(member)),
      );
      const state: RecoveryState = isHopeless
        ? { status: 'denied', by: call.caller.id, reason, at }
        : recovery.state;
      const denied: Recovery = { ...recovery, revision: recovery.revision + 1, denials, state };
      return Promise.resolve({
        detail: { status: state.status },
        digest: sha256Hex(order.statement),
        changes: [saved(denied)],
        answer: denied,
        ...(isHopeless ? { cleanup: () => lent.destroyTransport(recovery.id) } : {}),
      });
    },
  });
}

/**
 * The owner stops a release, where the rule lets them.
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
    const deposit = await getDeposit(escrow, recovery.key);
    const mayVeto = recovery.asked.purpose === 'release' && deposit.release?.ownerMayVeto === true;
    if (!mayVeto) throw new EscrowError('veto-not-allowed');
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
      const recovery = await getOpenRecovery(escrow, order.recovery, about);
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

/** A pending request that this depositary has a share in and has not decided yet. */
async function getUndecided(
  escrow: Escrow,
  depositary: PrincipalId,
  id: RecoveryId,
  about: (subject: Subject) => void,
): Promise<{ readonly recovery: Recovery; readonly deposit: PurposeDeposit; readonly share: Share }> {
  const recovery = await getOpenRecovery(escrow, id, about);
  const deposit = getPurposeDeposit(await getDeposit(escrow, recovery.key), recovery.asked.purpose);
  const share = deposit.shares.find((candidate) => candidate.depositary === depositary);
  if (share === undefined) throw new EscrowError('forbidden');
  const decided = [...recovery.approvals, ...recovery.denials].some((one) => one.depositary === depositary);
  if (decided) throw new EscrowError('approval-duplicate');
  if (recovery.state.status === 'approved') throw new EscrowError('quorum-complete');
  return { recovery, deposit, share };
}

async function delayOf(escrow: Escrow, recovery: Recovery): Promise<number> {
  return (await getDeposit(escrow, recovery.key)).release?.delayMs ?? 0;
}

function saved(recovery: Recovery): Change {
  return { change: 'recovery-saved', recovery };
}
