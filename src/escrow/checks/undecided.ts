import { type AskedKey, mayDecide } from '../rules/requestTerms.js';
import { checkRequest, countedStatus } from './checkedRequest.js';
import type { Call, Escrow } from '../escrow.js';
import { getOpenRecovery } from './openRecovery.js';
import type { Recorded } from '../ledger/act.js';
import type { Share } from '../records/deposit.js';
import type { Grant } from '../records/grant.js';
import { EscrowError } from '../records/errors.js';
import type { RecoveryId } from '../records/ids.js';
import type { Subject } from '../../log/entry/entry.js';
import type { RequestFacts } from '../logged/logFacts.js';
import type { Approval, Intent, Recovery } from '../records/recovery.js';

/** A key that a depositary has a share of. */
export interface HeldKey extends AskedKey {
  readonly share: Share;
}

/** An open request, as a depositary of it finds it who is to decide. */
export interface Undecided {
  readonly recovery: Recovery;
  readonly status: 'pending' | 'approved';
  readonly keys: readonly AskedKey[];
  /** Those that count now. */
  readonly intents: readonly Intent[];
  /** Those that count now. */
  readonly approvals: readonly Approval[];
  readonly facts: RequestFacts;
  /** Those that this depositary has a share of. */
  readonly held: readonly HeldKey[];
}

/** A request as a decision has left it, with what its act has read and made: the answer to who decided reads none of it again. */
export interface DecidedRequest extends Recorded<Recovery> {
  readonly keys: readonly AskedKey[];
  /** All of them, where it has made some. */
  readonly grants?: readonly Grant[];
}

/** What came of an act that decides, with the keys that it has read. */
export function decidedRequest({
  answer: { recovery, keys },
  index,
}: Recorded<{ readonly recovery: Recovery; readonly keys: readonly AskedKey[] }>): DecidedRequest {
  return { answer: recovery, index, keys };
}

/**
 * An open request for a key, at least, that this depositary has a share of, and that they have neither approved, so that it
 * still counts, nor denied. An intent decides nothing.
 *
 * @throws EscrowError `recovery-unknown`, `recovery-ended`, `recovery-expired`, `forbidden`, `record-mismatch`,
 *   `approval-duplicate`
 */
export async function getUndecided(
  escrow: Escrow,
  { caller, policy }: Call,
  id: RecoveryId,
  about: (subject: Subject) => void,
): Promise<Undecided> {
  const { recovery, status } = await getOpenRecovery(escrow, id, about);
  const { id: depositary } = caller;
  const { keys, intents, approvals, facts } = await checkRequest(escrow, recovery, { policy });
  const held = keys.flatMap((key) => {
    const share = key.sealed.shares.find((candidate) => candidate.depositary === depositary);
    return share === undefined ? [] : [{ ...key, share }];
  });
  // no share is ever made for an owner; should one be found, it counts for nothing
  if (held.length === 0 || depositary === recovery.owner) throw new EscrowError('forbidden');
  if (!mayDecide(recovery, keys, depositary)) {
    throw new EscrowError('forbidden', 'The rule of this key does not let the requester decide.');
  }
  const counting = [...approvals, ...recovery.denials];
  if (counting.some((one) => one.depositary === depositary)) throw new EscrowError('approval-duplicate');
  return {
    ...{ recovery, status: countedStatus(status, keys, approvals), keys, intents, approvals },
    ...{ facts, held },
  };
}
