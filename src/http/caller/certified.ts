import type { CertifiedCall } from '../../escrow/escrow.js';
import { callOf } from '../../escrow/escrow.js';
import { EscrowError } from '../../escrow/records/errors.js';
import { KnownCaller } from '../../escrow/ledger/knownCaller.js';
import type { Policy } from '../../escrow/records/policy.js';
import type { Known } from './signed.js';
import type { PeerCertificate } from './peerCertificate.js';

/**
 * Authenticates a request by the client certificate of its connection (RFC 8705 section 2.2, with the certificate itself
 * bound in the policy): the policy in force binds it to an app, and it is within its period of validity. That the caller has
 * its key, and that the request is new and unchanged, TLS has seen to.
 *
 * An expired one is `certificate-expired`, recorded as the app's.
 *
 * @throws EscrowError `caller-unknown`
 */
export function authenticateByCertificate(
  { thumbprint, fromMs, untilMs }: PeerCertificate,
  trust: { readonly policy: Policy; readonly now: Date },
): Known<CertifiedCall> {
  const found = KnownCaller.find(trust.policy, { certificate: thumbprint });
  if (found === undefined)
    throw new EscrowError('caller-unknown', 'The client certificate is bound to no app.');
  const call = callOf(found, { request: undefined, certificate: thumbprint });
  const nowMs = trust.now.getTime();
  // a date that does not parse compares with nothing, and refuses
  if (nowMs >= fromMs && nowMs <= untilMs) return { outcome: 'accepted', call };
  return { outcome: 'refused', call, error: new EscrowError('certificate-expired') };
}
