import type { Escrow, Call } from '../escrow.js';
import { getDeposit } from '../lookUp.js';
import type { PageRequest, Page } from '../ports/store.js';
import { type Deposit, isDepositaryOf } from '../records/deposit.js';
import { EscrowError } from '../records/errors.js';
import type { KeyId } from '../records/ids.js';
import { seesAll } from '../records/principals.js';

/** A key: for its owner, its depositaries, administrators and auditors. Throws `key-unknown`, `forbidden`. */
export async function viewKey(escrow: Escrow, call: Pick<Call, 'caller'>, id: KeyId): Promise<Deposit> {
  const deposit = await getDeposit(escrow, id);
  const isDepositary = deposit.purposes.some((purpose) => isDepositaryOf(purpose, call.caller.id));
  if (!seesAll(call.caller) && deposit.owner !== call.caller.id && !isDepositary)
    throw new EscrowError('forbidden');
  return deposit;
}

/** The keys that the caller may see: all, or their own and those they hold shares of. */
export function listKeys(
  escrow: Escrow,
  call: Pick<Call, 'caller'>,
  page: PageRequest,
): Promise<Page<Deposit>> {
  const { caller } = call;
  return escrow.store.deposits(seesAll(caller) ? {} : { owner: caller.id, depositary: caller.id }, page);
}
