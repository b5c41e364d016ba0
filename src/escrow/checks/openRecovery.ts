import { getAskedKeys, getRecovery } from '../lookUp.js';
import { checkRecord } from './checkedRequest.js';
import type { Escrow } from '../escrow.js';
import { EscrowError } from '../records/errors.js';
import type { RecoveryId } from '../records/ids.js';
import type { Subject } from '../../log/entry/entry.js';
import { type Recovery, statusAt } from '../records/recovery.js';

/**
 * A request that has not ended, by the records or by the clock, and where it stands now; else EscrowError
 * `recovery-unknown`, `recovery-expired`, `recovery-ended`. Who is told so will do nothing more to stop it: so that is said only
 * when the log says it too, else `record-mismatch`. One that was `read` before is judged as it was then.
 */
export async function getOpenRecovery(
  escrow: Escrow,
  id: RecoveryId,
  about: (subject: Subject) => void,
  read?: Recovery,
): Promise<{ readonly recovery: Recovery; readonly status: 'pending' | 'approved' }> {
  about({ recovery: id });
  const recovery =
    read ?? (await getRecovery(escrow, id).catch((error: unknown) => refused(escrow, id, error)));
  about({ keys: recovery.keys, owner: recovery.owner });
  const status = statusAt(recovery, escrow.clock.now());
  if (status === 'pending' || status === 'approved') return { recovery, status };
  if (status !== 'expired') return refused(escrow, id, new EscrowError('recovery-ended'));
  await escrow.followed.caughtUp();
  // it is over by the clock, which the log need not say yet, when this is when it was to be over
  if (escrow.followed.facts.request(id) !== undefined) {
    await checkRecord(escrow, recovery, await getAskedKeys(escrow, recovery));
  }
  throw new EscrowError('recovery-expired');
}

/** What the records say, unless the log has the request open. */
async function refused({ followed }: Escrow, id: RecoveryId, error: unknown): Promise<never> {
  await followed.caughtUp();
  if (followed.facts.request(id) === undefined) throw error;
  throw new EscrowError(
    'record-mismatch',
    'The log has this request open, and its record says something else.',
  );
}
