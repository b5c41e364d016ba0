import type { Escrow, Call } from '../escrow.js';
import { getDeposit } from '../lookUp.js';
import type { PageRequest, Page } from '../ports/store.js';
import { type Deposit, isDepositaryOf } from '../records/deposit.js';
import { EscrowError } from '../records/errors.js';
import { type KeyId, parseId } from '../records/ids.js';
import { grantsNamed } from '../rules/namedGrants.js';
import { seesAll } from '../records/principals.js';

/** A key: for its owner, its depositaries, administrators and auditors. Throws `key-unknown`, `forbidden`. */
export async function viewKey(escrow: Escrow, call: Pick<Call, 'caller'>, id: KeyId): Promise<Deposit> {
  const deposit = await getDeposit(escrow, id);
  const isDepositary = deposit.purposes.some((purpose) => isDepositaryOf(purpose, call.caller.id));
  if (!seesAll(call.caller) && deposit.owner !== call.caller.id && !isDepositary)
    throw new EscrowError('forbidden');
  return deposit;
}

/**
 * A key, for the sake of its public half: for those of {@link viewKey}, and for an app by its id or label while a grant of the app's
 * own for it runs. Throws `key-unknown`, `key-ambiguous`, `forbidden`.
 */
export async function viewPublicKey(
  escrow: Escrow,
  call: Pick<Call, 'caller'>,
  name: string,
): Promise<Deposit> {
  const { followed } = escrow;
  const named = (): string | undefined => grantsNamed(followed.facts, call.caller.id, name)[0]?.key;
  // another daemon may have made a grant just now
  if (named() === undefined) await followed.caughtUp();
  const granted = parseId('KeyId', named() ?? '');
  if (granted !== undefined) return getDeposit(escrow, granted);
  const key = parseId('KeyId', name);
  // who has no grant learns nothing of labels
  if (key === undefined) throw new EscrowError('forbidden');
  return viewKey(escrow, call, key);
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
