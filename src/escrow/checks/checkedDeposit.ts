import type { Deposit } from '../records/deposit.js';
import { depositDigest, firstDepositDigest } from '../records/digests.js';
import { EscrowError } from '../records/errors.js';
import type { FollowedLog } from '../logged/logFacts.js';

/**
 * Checks a deposit as it was read: its digest is of all that it says, and is the one in the entry of the key's birth.
 *
 * @throws EscrowError `record-mismatch`
 */
export async function checkDeposit(
  { followed }: { readonly followed: FollowedLog },
  deposit: Deposit,
): Promise<void> {
  const { digest, key } = deposit;
  if (depositDigest(deposit) !== digest && firstDepositDigest(deposit) !== digest) {
    throw new EscrowError('record-mismatch', 'The digest of a deposit is not that of its record.');
  }
  // another daemon may have made it just now
  if (followed.facts.birth(key) === undefined) await followed.caughtUp();
  if (followed.facts.birth(key) === digest) return;
  throw new EscrowError('record-mismatch', 'A deposit is not the one that was made with the key.');
}
