import type { Escrow } from '../escrow.js';
import { type Deposit } from '../records/deposit.js';
import { depositedQuorums } from '../records/depositedQuorums.js';
import { EscrowError } from '../records/errors.js';
import type { Policy } from '../records/policy.js';
import type { EnrolledKeys } from '../rules/explain.js';
import { type LiveQuorums, liveQuorums } from '../rules/liveQuorums.js';

/** By what it is told who can agree: the policy in force, and the token where it answers. */
export interface Standing {
  readonly policy: Policy;
  /** Undefined while the token is out: it was not asked, and nothing is said of who is enrolled. */
  readonly enrolled: EnrolledKeys;
}

/** Who is listed and enrolled now. */
export async function standingNow(escrow: Pick<Escrow, 'directory' | 'token'>): Promise<Standing> {
  return { policy: await escrow.directory.current(), enrolled: await enrolledKeys(escrow) };
}

/** Fingerprints of the keys that the token has enrolled, by depositary; undefined while the token is out. */
export async function enrolledKeys({ token }: Pick<Escrow, 'token'>): Promise<EnrolledKeys> {
  try {
    return new Map((await token.enrolled()).map(({ id, fingerprint }) => [id, fingerprint]));
  } catch (error) {
    if (error instanceof EscrowError && error.code === 'token-unavailable') return undefined;
    throw error;
  }
}

/** Who can bring a key back, for each of its purposes. */
export function coverageOfKey(
  { purposes }: Pick<Deposit, 'purposes'>,
  { policy, enrolled }: Standing,
): readonly LiveQuorums[] {
  return purposes.map((sealed) => liveQuorums(depositedQuorums(sealed), policy, enrolled));
}
