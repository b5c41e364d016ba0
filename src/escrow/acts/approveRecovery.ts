import { brakesOfAll } from '../rules/requestTerms.js';
import { getAskedKeys } from '../lookUp.js';
import { checkRecord, whileLogged } from '../checks/checkedRequest.js';
import type { Call, Escrow } from '../escrow.js';
import { actorOf } from '../escrow.js';
import { getOpenRecovery } from '../checks/openRecovery.js';
import { repliesDigest, sha256Hex } from '../records/digests.js';
import { EscrowError } from '../records/errors.js';
import type { RecoveryId } from '../records/ids.js';
import { aloneOn } from '../ports/journal.js';
import { layerContext, layersOf } from '../records/layers.js';
import { requireDelayOver } from './intendRecovery.js';
import type { Change } from '../ports/journal.js';
import type { TokenVerbs } from '../ports/token.js';
import type { Completion } from '../rules/quorumProgress.js';
import { completion, isDenied, quorumsAsJson } from '../rules/quorumProgress.js';
import type { Recovery, RecoveryState, Reply } from '../records/recovery.js';
import { approvalsAt } from '../records/recovery.js';
import { activateOnQuorum } from './activateRecovery.js';
import { checkStatement, requireOwnTree } from '../rules/statement.js';
import type { HeldKey } from '../checks/undecided.js';
import { getUndecided } from '../checks/undecided.js';
import type { Detail, Performed } from '../ledger/act.js';
import { CameToNothing } from '../ledger/act.js';

/** Length of a ciphertext of the transport key (RSA-3072), in bytes. */
const REPLY_BYTES = 384;

/**
 * A depositary approves: their signed statement about the whole request, and their share of each key of it that they are a
 * depositary of, re-encrypted to the transport key, which the token checks at once. When this completes the quorums of all
 * keys for `operate`, they are brought back in the same call. Where the rule of a key has replies after the delay, this is the
 * second thing that they say, and comes to nothing before the delay is over: see `intendRecovery`.
 *
 * @throws EscrowError `recovery-unknown`, `recovery-ended`, `recovery-expired`, `quorum-complete`, `forbidden`,
 *   `record-mismatch`, `approval-duplicate`, `approval-signature-invalid`, `approval-mismatch`, `approval-expired`, `approval-too-long`,
 *   `share-malformed`, `share-wrong-key`, `share-mismatch`, `intents-incomplete`, `delay-running`.
 */
export async function approveRecovery(
  escrow: Escrow,
  call: Call,
  order: { readonly recovery: RecoveryId; readonly statement: string; readonly replies: readonly Reply[] },
): Promise<Performed<Recovery>> {
  const decided = await escrow.ledger.perform({
    act: 'recovery.approve',
    actor: actorOf(call),
    decide: async (about) => {
      const found = await getUndecided(escrow, call.caller.id, order.recovery, about);
      const { recovery } = found;
      if (found.status === 'approved') throw new EscrowError('quorum-complete');
      requireDelayOver(found, call.caller.id, escrow.clock.now());
      const { expiresAt, tree } = await checkStatement(escrow, call.caller, recovery, order.statement, {
        approve: order.replies,
      });
      await requireOwnTree(escrow.log, tree);
      const held = repliesFor(found.held, order.replies);
      return {
        detail: { requestHash: recovery.requestHash, statement: order.statement },
        // by whose keys the others' approvals were counted
        claims: [aloneOn(recovery), { claim: 'policy-in-force', version: found.policy.version }],
        holds: whileLogged(found.facts),
        plan: { ...found, held, expiresAt },
      };
    },
    run: async (lent, { recovery, keys, approvals: counted, held, expiresAt }) => {
      for (const one of held) await checkReply(escrow, lent, recovery, one);
      const at = escrow.clock.now();
      const { statement, replies } = order;
      const depositary = call.caller.id;
      const approval = { depositary, statement, replies, at, expiresAt };
      // one of theirs that counts no more gives way to the new one; the log has both
      const approvals = [...recovery.approvals.filter((one) => one.depositary !== depositary), approval];
      const complete = completion(keys, [...approvalsAt({ ...recovery, approvals: counted }, at), approval]);
      const { delayMs, replies: when } = brakesOfAll(keys);
      const state: RecoveryState =
        complete === undefined
          ? { status: 'pending' }
          : {
              status: 'approved',
              // where replies come after the delay, it is over by now
              releasableAt: new Date(at.getTime() + (when === 'afterDelay' ? 0 : delayMs)),
              holdsUntil: complete.holdsUntil,
            };
      const approved: Recovery = { ...recovery, revision: recovery.revision + 1, approvals, state };
      return {
        detail: { expiresAt: expiresAt.toISOString(), ...stateFacts(state), ...quorumFact(complete) },
        digest: repliesDigest(replies),
        changes: [{ change: 'recovery-saved', recovery: approved }],
        answer: approved,
      };
    },
  });
  return { answer: await activateOnQuorum(escrow, decided.answer, decided.index), index: decided.index };
}

/**
 * A depositary denies, with a signed reason. The request ends when, for one of its keys, as many have as the rule says, or
 * no quorum is left that could still agree. Where no rule gives a number, quorums that are complete are not undone by a denial;
 * where the rule of a key that they are a depositary of does, denials count until the delay is over.
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
      const { recovery, status } = found;
      const counts = found.held.some(({ deposit }) => deposit.requests.denialsToEnd !== undefined);
      if (status === 'approved' && !counts) {
        throw new EscrowError('quorum-complete');
      }
      const { reason, tree } = await checkStatement(escrow, call.caller, recovery, order.statement, 'deny');
      await requireOwnTree(escrow.log, tree);
      return {
        detail: { requestHash: recovery.requestHash, statement: order.statement, reason },
        claims: [aloneOn(recovery)],
        holds: whileLogged(found.facts),
        plan: { ...found, reason },
      };
    },
    run: (_lent, { recovery, keys, reason }) => {
      const at = escrow.clock.now();
      const denial = { depositary: call.caller.id, statement: order.statement, reason, at };
      const denials = [...recovery.denials, denial];
      const isOver = isDenied(recovery, keys, denials);
      const state: RecoveryState = isOver
        ? { status: 'denied', by: call.caller.id, reason, at }
        : recovery.state;
      const denied: Recovery = { ...recovery, revision: recovery.revision + 1, denials, state };
      return Promise.resolve({
        detail: { status: state.status },
        digest: sha256Hex(order.statement),
        changes: [saved(denied)],
        answer: denied,
        ...(isOver ? { obsolete: { transport: recovery.id } } : {}),
      });
    },
  });
}

/**
 * The owner stops what is asked for, where the rule of one of the keys lets them, at any time before the keys are back.
 *
 * @throws EscrowError `recovery-unknown`, `recovery-ended`, `recovery-expired`, `forbidden`, `veto-not-allowed`.
 */
export function vetoRecovery(
  escrow: Escrow,
  call: Call,
  order: { readonly recovery: RecoveryId; readonly reason: string },
): Promise<Performed<Recovery>> {
  return end(escrow, call, order, 'recovery.veto', 'vetoed', async (recovery) => {
    const keys = await getAskedKeys(escrow, recovery);
    await checkRecord(escrow, recovery, keys);
    if (recovery.owner !== call.caller.id) throw new EscrowError('forbidden');
    const { ownerMayVeto } = brakesOfAll(keys);
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
  return end(escrow, call, order, 'recovery.cancel', 'cancelled', async (recovery) => {
    await checkRecord(escrow, recovery, await getAskedKeys(escrow, recovery));
    if (recovery.requester !== call.caller.id) throw new EscrowError('forbidden');
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
    run: (_lent, recovery) => {
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
        obsolete: { transport: recovery.id },
      });
    },
  });
}

/** A key that a depositary has a share of, with their reply about it. */
interface AnsweredKey extends HeldKey {
  readonly reply: Reply['reply'];
}

/** There must be one reply for each key that the depositary has a share of, in their order, and no other. */
function repliesFor(held: readonly HeldKey[], replies: readonly Reply[]): readonly AnsweredKey[] {
  if (replies.length !== held.length || held.some(({ deposit }, at) => replies[at]?.key !== deposit.key)) {
    throw new EscrowError(
      'share-malformed',
      'There must be one reply for each key of the request that the depositary has a share of, in ascending order.',
    );
  }
  return held.map((key, at) => {
    const reply = replies[at]?.reply;
    if (reply?.length !== REPLY_BYTES) throw new EscrowError('share-malformed');
    return { ...key, reply };
  });
}

/** Opens a reply and the link with it, in the token: it is of this request, this key and this depositary, or refused. */
async function checkReply(
  escrow: Escrow,
  lent: Pick<TokenVerbs, 'unwrapReply' | 'openUnder'>,
  { id }: Recovery,
  { deposit, sealed, share, reply }: AnsweredKey,
): Promise<void> {
  const r = await lent.unwrapReply(id, reply).catch((error: unknown) => missingOrEnded(escrow, id, error));
  if ('refused' in r) throw new EscrowError('share-wrong-key');
  const place = layerContext(layersOf(deposit, sealed), { depositary: share.depositary });
  const link = await lent.openUnder(r.opened, share.link, place, 'server-for');
  if ('refused' in link) throw new EscrowError('share-mismatch');
}

/** A transport key that is gone since the request has ended: that is the answer, not the token's complaint about it. */
async function missingOrEnded(escrow: Escrow, id: RecoveryId, error: unknown): Promise<never> {
  if (error instanceof EscrowError && error.code === 'token-object-missing') {
    await getOpenRecovery(escrow, id, () => undefined).catch((ended: unknown) => {
      throw ended instanceof EscrowError ? new CameToNothing(ended, { detail: {}, changes: [] }) : ended;
    });
  }
  throw error;
}

function quorumFact(complete: Completion | undefined): Detail {
  return complete === undefined ? {} : { quorums: quorumsAsJson(complete.quorums) };
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
