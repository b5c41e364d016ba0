import type { DecidedRequest } from '../checks/undecided.js';
import { decidedRequest } from '../checks/undecided.js';
import type { AskedKey } from '../rules/requestTerms.js';
import { type Escrow, type Call, actorOf } from '../escrow.js';
import { getOpenRecovery } from '../checks/openRecovery.js';
import { aloneOn } from '../ports/journal.js';
import type { Change } from '../ports/journal.js';
import type { RecoveryId } from '../records/ids.js';
import type { Recovery, RecoveryState } from '../records/recovery.js';
import { checkRecord } from '../checks/checkedRequest.js';
import { getAskedKeys } from '../lookUp.js';
import { EscrowError } from '../records/errors.js';
import { brakesOfAll } from '../rules/requestTerms.js';

/** The change that stores a request as it is now. */
export function saved(recovery: Recovery): Change {
  return { change: 'recovery-saved', recovery };
}

async function end(
  escrow: Escrow,
  call: Call,
  order: { readonly recovery: RecoveryId; readonly reason: string },
  act: 'recovery.veto' | 'recovery.cancel',
  status: 'vetoed' | 'cancelled',
  check: (recovery: Recovery, keys: readonly AskedKey[]) => void,
): Promise<DecidedRequest> {
  const decided = await escrow.ledger.perform({
    act,
    actor: actorOf(call),
    decide: async (about) => {
      const { recovery } = await getOpenRecovery(escrow, order.recovery, about);
      const keys = await getAskedKeys(escrow, recovery);
      await checkRecord(escrow, recovery, keys);
      check(recovery, keys);
      return {
        detail: { reason: order.reason, requestHash: recovery.requestHash },
        claims: [aloneOn(recovery)],
        plan: { recovery, keys },
      };
    },
    run: (_lent, { recovery, keys }) => {
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
        answer: { recovery: ended, keys },
        obsolete: { transport: recovery.id },
      });
    },
  });
  return decidedRequest(decided);
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
): Promise<DecidedRequest> {
  return end(escrow, call, order, 'recovery.veto', 'vetoed', (recovery, keys) => {
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
): Promise<DecidedRequest> {
  return end(escrow, call, order, 'recovery.cancel', 'cancelled', (recovery) => {
    if (recovery.requester !== call.caller.id) throw new EscrowError('forbidden');
  });
}
