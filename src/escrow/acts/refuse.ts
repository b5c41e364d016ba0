import type { Act } from '../ledger/means.js';
import type { Escrow, OperateCall } from '../escrow.js';
import { actorOf } from '../escrow.js';
import type { EscrowError } from '../records/errors.js';
import { parseId } from '../records/ids.js';
import { subjectOf } from '../rules/liveGrant.js';
import type { Subject } from '../../log/entry/entry.js';

/**
 * Records a refusal that was decided before any use case was reached: a role that is not allowed, a body that is not
 * valid. `said` is what the request says it is about; the owner is found from it, so that they see the refusal in
 * their history.
 *
 * @throws EscrowError `log-unavailable`; `request-replayed` when the request had been used up before.
 */
export async function recordRefusal(
  escrow: Escrow,
  act: Act,
  call: OperateCall,
  said: Subject,
  error: EscrowError,
): Promise<void> {
  await escrow.ledger.refuse(act, actorOf(call), await complete(escrow, said), error);
}

async function complete(escrow: Escrow, said: Subject): Promise<Subject> {
  const grant = parseId('GrantId', said.grant ?? '');
  const foundGrant = grant === undefined ? undefined : await escrow.store.findGrant(grant);
  if (foundGrant !== undefined) return subjectOf(foundGrant);
  const recovery = parseId('RecoveryId', said.recovery ?? '');
  const foundRecovery = recovery === undefined ? undefined : await escrow.store.findRecovery(recovery);
  if (foundRecovery !== undefined) return { ...said, keys: foundRecovery.keys, owner: foundRecovery.owner };
  const { key, keys = key === undefined ? [] : [key] } = said;
  const deposits = await escrow.store.findDeposits(keys.flatMap((each) => parseId('KeyId', each) ?? []));
  const [owner, ...others] = new Set(deposits.map((deposit) => deposit.owner));
  return owner === undefined || others.length > 0 ? said : { ...said, owner };
}
