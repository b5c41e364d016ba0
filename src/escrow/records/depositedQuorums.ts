import type { Quorum } from './quorum.js';
import type { Purpose } from './policy.js';
import type { PurposeDeposit } from './deposit.js';

/** Who can bring a key back for one purpose: fixed when it is deposited. */
export interface DepositedQuorums {
  readonly purpose: Purpose;
  readonly quorums: readonly Quorum[];
  /**
   * SHA-256 (hex) of the DER SubjectPublicKeyInfo of the key that each depositary's share went to. Of who is not in it, it is not
   * known.
   */
  readonly recipients: ReadonlyMap<string, string>;
}

/** Keys that were deposited alike: each can be brought back by the same people, with the same keys of theirs. */
export interface DepositGroup {
  readonly purposes: readonly DepositedQuorums[];
  readonly keys: number;
}

/** The same of a deposit as it was read. */
export function depositedQuorums({
  purpose,
  quorums,
  shares,
}: Pick<PurposeDeposit, 'purpose' | 'quorums' | 'shares'>): DepositedQuorums {
  return {
    purpose,
    quorums: quorums.map(({ members }) => members),
    recipients: new Map(shares.map(({ depositary, recipient }) => [depositary, recipient])),
  };
}
