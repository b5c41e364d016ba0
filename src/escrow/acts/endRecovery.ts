import type { Recorded } from '../ledger/act.js';
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

function end(
  escrow: Escrow,
  call: Call,
  order: { readonly recovery: RecoveryId; readonly reason: string },
  act: 'recovery.veto' | 'recovery.cancel',
  status: 'vetoed' | 'cancelled',
  check: (recovery: Recovery) => Promise<void>,
): Promise<Recorded<Recovery>> {
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

/**
 * The owner stops what is asked for, where the rule of one of the keys lets them, at any time before the keys are back.
 *
 * @throws EscrowError `recovery-unknown`, `recovery-ended`, `recovery-expired`, `forbidden`, `veto-not-allowed`.
 */
export function vetoRecovery(
  escrow: Escrow,
  call: Call,
  order: { readonly recovery: RecoveryId; readonly reason: string },
): Promise<Recorded<Recovery>> {
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
): Promise<Recorded<Recovery>> {
  return end(escrow, call, order, 'recovery.cancel', 'cancelled', async (recovery) => {
    await checkRecord(escrow, recovery, await getAskedKeys(escrow, recovery));
    if (recovery.requester !== call.caller.id) throw new EscrowError('forbidden');
  });
}
