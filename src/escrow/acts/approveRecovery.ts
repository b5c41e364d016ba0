import { brakesOfAll } from '../rules/requestTerms.js';
import { whileLogged } from '../checks/checkedRequest.js';
import type { Call, Escrow } from '../escrow.js';
import { actorOf } from '../escrow.js';
import { getOpenRecovery } from '../checks/openRecovery.js';
import { repliesDigest } from '../records/digests.js';
import { EscrowError } from '../records/errors.js';
import type { RecoveryId } from '../records/ids.js';
import { aloneOn } from '../ports/journal.js';
import { layerContext, layersOf } from '../records/sealing/layers.js';
import { requireDelayOver } from './intendRecovery.js';
import type { TokenVerbs } from '../ports/token.js';
import type { Completion } from '../rules/quorumProgress.js';
import { completion, quorumsAsJson } from '../rules/quorumProgress.js';
import type { Recovery, RecoveryState, Reply } from '../records/recovery.js';
import { approvalsAt } from '../records/recovery.js';
import { requirePlanned } from './deposits/planReseal.js';
import { carryOutOnQuorum } from './carryingOut/carryOut.js';
import { checkStatement, requireOwnTree } from '../rules/statement.js';
import type { DecidedRequest, HeldKey, Undecided } from '../checks/undecided.js';
import { decidedRequest, getUndecided } from '../checks/undecided.js';
import type { Detail } from '../ledger/act.js';
import { CameToNothing } from '../ledger/act.js';

/** Length of a ciphertext of the transport key (RSA-3072), in bytes. */
const REPLY_BYTES = 384;

/**
 * A depositary approves: their signed statement about the whole request, and their share of each key of it that they are a
 * depositary of, re-encrypted to the transport key, which the token checks at once. When this completes the quorums of all
 * keys for `operate`, they are brought back in the same call; for `reseal`, they are sealed anew. Where the rule of a key has replies after the delay, this is the
 * second thing that they say, and comes to nothing before the delay is over: see `intendRecovery`.
 *
 * @throws EscrowError `recovery-unknown`, `recovery-ended`, `recovery-expired`, `quorum-complete`, `forbidden`,
 *   `record-mismatch`, `approval-duplicate`, `approval-signature-invalid`, `approval-mismatch`, `approval-expired`, `approval-too-long`,
 *   `share-malformed`, `share-wrong-key`, `share-mismatch`, `intents-incomplete`, `delay-running`, `token-full`, `policy-changed` and `depositary-not-enrolled` of
 *   a reseal that was planned otherwise.
 */
export async function approveRecovery(
  escrow: Escrow,
  call: Call,
  order: { readonly recovery: RecoveryId; readonly statement: string; readonly replies: readonly Reply[] },
): Promise<DecidedRequest> {
  const decided = await escrow.ledger.perform({
    act: 'recovery.approve',
    actor: actorOf(call),
    decide: async (about) => {
      const found = await getUndecided(escrow, call, order.recovery, about);
      const { recovery } = found;
      if (found.status === 'approved') throw new EscrowError('quorum-complete');
      // nobody replies for what could come to nothing alone
      if (recovery.asked.purpose === 'reseal') await requirePlanned(escrow, call.policy, recovery.asked);
      requireDelayOver(found, call.caller.id, escrow.clock.now());
      const { expiresAt, tree } = await checkStatement(escrow, call.caller, recovery, order.statement, {
        approve: order.replies,
      });
      await requireOwnTree(escrow.log, tree);
      requireRoom(escrow, found);
      const held = repliesFor(found.held, order.replies, recovery.asked);
      return {
        detail: { requestHash: recovery.requestHash, statement: order.statement },
        // by whose keys the others' approvals were counted
        claims: [aloneOn(recovery)],
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
        answer: { recovery: approved, keys },
      };
    },
  });
  const { recovery, grants } = await carryOutOnQuorum(escrow, decided.answer, decided.index);
  return { ...decidedRequest(decided), answer: recovery, ...(grants && { grants }) };
}

/** What would be activated at once must find room in the token, before anything of it is opened. */
function requireRoom({ grantRoom, followed }: Escrow, { recovery, keys }: Undecided): void {
  const { delayMs, replies } = brakesOfAll(keys);
  const isAtOnce = delayMs === 0 || replies === 'afterDelay';
  if (isAtOnce && recovery.asked.purpose === 'operate') grantRoom.require(followed.facts, keys.length);
}

/** A key that a depositary has a share of, with their reply about it. */
interface AnsweredKey extends HeldKey {
  readonly reply: Reply['reply'];
}

/** There must be one reply for each share of the depositary, in their order, and no other; of a reseal, with its purpose. */
function repliesFor(
  held: readonly HeldKey[],
  replies: readonly Reply[],
  { purpose: asked }: Recovery['asked'],
): readonly AnsweredKey[] {
  const isOf = (at: number, { deposit, sealed: { purpose } }: HeldKey): boolean =>
    replies[at]?.key === deposit.key && replies[at].purpose === (asked === 'reseal' ? purpose : undefined);
  if (replies.length !== held.length || !held.every((key, at) => isOf(at, key))) {
    throw new EscrowError(
      'share-malformed',
      `There must be one reply for each key of the request that the depositary has a share of, in ascending order${
        asked === 'reseal' ? ', and for each purpose of it' : ''
      }.`,
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
  return complete === undefined ? {} : { quorums: quorumsAsJson(complete.keys) };
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
