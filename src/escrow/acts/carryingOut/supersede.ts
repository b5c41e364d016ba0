import { whileLogged } from '../../checks/checkedRequest.js';
import type { Escrow } from '../../escrow.js';
import { DAEMON } from '../../ledger/act.js';
import { aloneOn } from '../../ports/journal.js';
import { ERROR_CODES, EscrowError } from '../../records/errors.js';
import { type RecoveryId, idsOf } from '../../records/ids.js';
import { getOpen } from '../../checks/openInLog.js';
import { next } from '../reopenDeposit.js';
import type { Settling } from '../settling.js';

/**
 * Ends the requests of which a key was sealed anew since they were filed: whoever has approved them has replied with a share that
 * opens nothing any more. Nothing waits for it: they are refused as they are.
 */
export async function endSuperseded(escrow: Escrow, settling: Settling): Promise<number> {
  const { facts } = escrow.followed;
  let ended = 0;
  for (const id of idsOf('RecoveryId', facts.due.supersededRequests())) {
    const isDue = (): boolean => facts.request(id)?.isSuperseded === true;
    if (await settling.settle({ id, isDue, settle: () => supersede(escrow, id) })) ended += 1;
  }
  return ended;
}

async function supersede(escrow: Escrow, id: RecoveryId): Promise<void> {
  await escrow.ledger.perform({
    act: 'recovery.supersede',
    actor: DAEMON,
    decide: async (about) => {
      const { recovery, facts } = await getOpen(escrow, id);
      about({ recovery: id, keys: recovery.keys, owner: recovery.owner });
      if (!facts.isSuperseded) throw new EscrowError('recovery-ended');
      return { detail: {}, claims: [aloneOn(recovery)], holds: whileLogged(facts), plan: recovery };
    },
    run: (_lent, recovery) => {
      const reason = ERROR_CODES['recovery-superseded'];
      const ended = next(recovery, { status: 'failed', reason, at: escrow.clock.now() });
      return Promise.resolve({
        detail: { status: 'failed' },
        digest: recovery.requestHash,
        changes: [{ change: 'recovery-saved', recovery: ended }],
        answer: undefined,
        obsolete: { transport: id },
      });
    },
  });
}
