import { checkRecord } from './checkedRequest.js';
import type { Escrow } from '../escrow.js';
import type { RequestFacts } from '../logged/logFacts.js';
import { getAskedKeys } from '../lookUp.js';
import { EscrowError } from '../records/errors.js';
import type { RecoveryId } from '../records/ids.js';
import type { Recovery } from '../records/recovery.js';

/** The record of a request that the log has open, which says what the log says; else EscrowError `record-mismatch`. */
export async function getOpen(
  escrow: Escrow,
  id: RecoveryId,
): Promise<{ readonly recovery: Recovery; readonly facts: RequestFacts }> {
  const recovery = await escrow.store.findRecovery(id);
  if (recovery?.id !== id) {
    throw new EscrowError('record-mismatch', 'The log has this request open, and it has no record.');
  }
  const facts = await checkRecord(escrow, recovery, await getAskedKeys(escrow, recovery));
  if (isOpen(recovery.state.status)) return { recovery, facts };
  throw new EscrowError('record-mismatch', 'The log has this request open, and its record has not.');
}

/** Whether a request has its one-time key still. */
export function isOpen(status: Recovery['state']['status'] | undefined): boolean {
  return status === 'pending' || status === 'approved';
}
