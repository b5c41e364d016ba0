import type { Call } from '../../src/escrow/escrow.js';
import { EscrowError } from '../../src/escrow/records/errors.js';
import type { Policy } from '../../src/escrow/records/policy.js';
import type { Known, Received } from '../../src/http/caller/signed.js';
import { checkRequest, proveSigner, readClaimed } from '../../src/http/caller/signed.js';

/** What came of a request: whose it is, when that is known. */
export type Authentication =
  Known<Call> | { readonly outcome: 'refused'; readonly call: undefined; readonly error: EscrowError };

/** All the steps by which a signed request is believed, one after the other. */
export async function authenticate(
  received: Received,
  trust: { readonly policy: Policy; readonly logKey: string; readonly now: Date },
): Promise<Authentication> {
  try {
    const proven = await proveSigner(readClaimed(received.authorization), trust.policy);
    return checkRequest(proven, received, trust);
  } catch (error) {
    if (!(error instanceof EscrowError)) throw error;
    return { outcome: 'refused', call: undefined, error };
  }
}
