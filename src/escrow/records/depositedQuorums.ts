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
  /** The label of the key-encryption key that the key lies under; absent where it is not known. */
  readonly kek?: string;
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
  kek,
}: Pick<PurposeDeposit, 'purpose' | 'quorums' | 'shares' | 'kek'>): DepositedQuorums {
  return {
    purpose,
    quorums: quorums.map(({ members }) => members),
    recipients: new Map(shares.map(({ depositary, recipient }) => [depositary, recipient])),
    kek,
  };
}

/** The same groups, whatever key-encryption keys their keys lie under: who can bring them back does not depend on these. */
export function byPeopleAlone(groups: readonly DepositGroup[]): readonly DepositGroup[] {
  const alike = new Map<string, DepositGroup>();
  for (const { purposes, keys } of groups) {
    const people = purposes.map(({ purpose, quorums, recipients }) => ({ purpose, quorums, recipients }));
    const name = JSON.stringify(people.map((one) => ({ ...one, recipients: [...one.recipients].sort() })));
    alike.set(name, { purposes: people, keys: keys + (alike.get(name)?.keys ?? 0) });
  }
  return [...alike.values()];
}
