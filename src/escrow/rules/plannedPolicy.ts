import type { Policy } from '../records/policy.js';
import type { InToken, Losses } from './losses.js';

/** What a document would be, were it put in force now. */
export interface PlannedPolicy {
  readonly current: Policy;
  readonly next: Policy;
  /** So many administrators must sign it. */
  readonly signersNeeded: number;
  /** By which its losses are counted. */
  readonly inToken: InToken;
  /** Of the keys that there are, and of those that are being made. */
  readonly losses: Losses;
}
