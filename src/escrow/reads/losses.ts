import type { PlannedPolicy } from '../rules/plannedPolicy.js';
import type { Escrow } from '../escrow.js';
import { getDeposits } from '../lookUp.js';
import type { Page, PageRequest } from '../ports/store.js';
import type { Deposit } from '../records/deposit.js';
import { depositedQuorums } from '../records/depositedQuorums.js';
import { type Loss, lossesOfOne } from '../rules/losses.js';

/** A key that a policy leaves covered worse than the one before it. */
export interface LosingKey {
  readonly deposit: Deposit;
  readonly losses: readonly Loss[];
}

/**
 * The keys that a planned policy leaves covered worse, newest first: those that have a record. A page may be empty, and another
 * follow. Throws EscrowError `record-mismatch` when a record is not of the key that was born.
 */
export async function listLosingKeys(
  escrow: Escrow,
  { current, next, inToken, losses: { groups } }: PlannedPolicy,
  page: PageRequest,
): Promise<Page<LosingKey>> {
  if (groups.length === 0) return { items: [], next: undefined };
  const quorums = groups.map(({ group }) => group.purposes);
  const found = await escrow.store.deposits({ quorums }, page);
  const keys = found.items.map(({ key }) => key);
  const deposits = await getDeposits(escrow, keys, found.items);
  return {
    items: deposits.flatMap((deposit) => {
      const purposes = deposit.purposes.map(depositedQuorums);
      const losses = lossesOfOne({ purposes }, current, next, inToken);
      return losses.length === 0 ? [] : [{ deposit, losses }];
    }),
    next: found.next,
  };
}
