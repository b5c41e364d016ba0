import { whileLogged } from '../checks/checkedRequest.js';
import type { DecidedRequest } from '../checks/undecided.js';
import { decidedRequest, getUndecided } from '../checks/undecided.js';
import { type Escrow, type Call, actorOf } from '../escrow.js';
import { aloneOn } from '../ports/journal.js';
import { sha256Hex } from '../records/digests.js';
import { EscrowError } from '../records/errors.js';
import type { RecoveryId } from '../records/ids.js';
import type { Recovery, RecoveryState } from '../records/recovery.js';
import { isDenied } from '../rules/quorumProgress.js';
import { checkStatement, requireOwnTree } from '../rules/statement.js';
import { saved } from './endRecovery.js';

/**
 * A depositary denies, with a signed reason. The request ends when, for one of its keys, as many have as the rule says, or
 * no quorum is left that could still agree. Where no rule gives a number, quorums that are complete are not undone by a denial;
 * where the rule of a key that they are a depositary of does, denials count until the delay is over.
 *
 * @throws EscrowError as {@link approveRecovery}, but for the share.
 */
export async function denyRecovery(
  escrow: Escrow,
  call: Call,
  order: { readonly recovery: RecoveryId; readonly statement: string },
): Promise<DecidedRequest> {
  const decided = await escrow.ledger.perform({
    act: 'recovery.deny',
    actor: actorOf(call),
    decide: async (about) => {
      const found = await getUndecided(escrow, call, order.recovery, about);
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
        answer: { recovery: denied, keys },
        ...(isOver ? { obsolete: { transport: recovery.id } } : {}),
      });
    },
  });
  return decidedRequest(decided);
}
