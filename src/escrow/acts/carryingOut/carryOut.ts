import type { Escrow } from '../../escrow.js';
import { EscrowError } from '../../records/errors.js';
import type { Grant } from '../../records/grant.js';
import type { Recovery } from '../../records/recovery.js';
import { activateByItself } from '../activateRecovery.js';
import type { ReadRequest } from '../reopenDeposit.js';
import { resealByItself } from './resealKeys.js';

/** What the daemon does by itself with a request that is approved: makes the grants, or seals its keys anew. A release waits for its recipient. */
export interface CarriedOut {
  readonly recovery: Recovery;
  /** Those that were made. */
  readonly grants?: readonly Grant[];
}

/**
 * After an approval: carries out what the quorum was completed for, by the request as the approval has left it. Resolves with the
 * request, and the grants where it has made them. What goes wrong here is in the log, and can be retried.
 */
export async function carryOutOnQuorum(
  escrow: Escrow,
  read: ReadRequest,
  approval: number,
): Promise<CarriedOut> {
  const { recovery } = read;
  if (recovery.asked.purpose === 'release' || recovery.state.status !== 'approved') return { recovery };
  try {
    return await carryOut(escrow, recovery, { approval }, read);
  } catch (error) {
    if (!(error instanceof EscrowError)) throw error;
    return { recovery: (await escrow.store.findRecovery(recovery.id)) ?? recovery };
  }
}

/**
 * After a delay, or when it was cut short: carries out what is due. What speaks against it is in the log, or will be again for whoever
 * asks; throws EscrowError `record-mismatch` when the record does.
 */
export async function carryOutWhenDue(escrow: Escrow, recovery: Recovery): Promise<boolean> {
  try {
    await carryOut(escrow, recovery, {});
    return true;
  } catch (error) {
    if (error instanceof EscrowError && error.code !== 'record-mismatch') return false;
    throw error;
  }
}

async function carryOut(
  escrow: Escrow,
  { id, asked }: Recovery,
  because: { readonly approval?: number },
  read?: ReadRequest,
): Promise<CarriedOut> {
  if (asked.purpose === 'operate') return activateByItself(escrow, id, because, read);
  return { recovery: (await resealByItself(escrow, id, because, read)).answer };
}
