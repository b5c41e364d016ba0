import type { Policy } from '../records/policy.js';
import type { EnrolledKeys } from './explain.js';
import type { Losses } from './losses.js';

/** What a document would be, were it put in force now. */
export interface PlannedPolicy {
  readonly current: Policy;
  readonly next: Policy;
  /** So many administrators must sign it. */
  readonly signersNeeded: number;
  /** Whom the token has enrolled, by which its losses are counted; undefined while the token is out. */
  readonly enrolled: EnrolledKeys;
  /** Of the keys that there are, and of those that are being made. */
  readonly losses: Losses;
}
