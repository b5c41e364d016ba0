import type { Quorum } from './quorum.js';
import type { Purpose } from './policy.js';

/** How many deposits were made for one purpose with exactly these quorums, which are fixed at deposit. */
export interface DepositedQuorums {
  readonly purpose: Purpose;
  readonly quorums: readonly Quorum[];
  readonly deposits: number;
}
