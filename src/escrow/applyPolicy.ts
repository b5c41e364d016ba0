import type { Json } from '../log/canonical.js';
import { canonicalJson } from '../log/canonical.js';
import type { Call, Escrow } from './context.js';
import { actorOf } from './context.js';
import { EscrowError } from './errors.js';
import type { PrincipalId } from './ids.js';
import type { Policy } from './policy.js';
import type { PolicyParser } from './ports.js';
import { hasRole } from './principals.js';
import type { Performed } from './performance.js';

/** The `typ` of an administrator's signature on a policy (RFC 7515 section 4.1.9). */
export const POLICY_SIGNATURE_TYPE = 'escrowd-policy+jwt';
/** So many different administrators sign a policy. */
export const POLICY_QUORUM = 2;

/** A policy document and the administrators' signatures on its hash. */
export interface PolicyOrder {
  readonly document: Json;
  readonly signatures: readonly string[];
}

/**
 * Puts directory and rules in force, when two administrators of the policy in force have signed the identical
 * document on top of that version.
 *
 * @throws EscrowError `forbidden`, `policy-invalid`, `policy-signatures-missing`, `policy-stale`.
 */
export function applyPolicy(
  escrow: Escrow,
  call: Call,
  parse: PolicyParser,
  order: PolicyOrder,
): Promise<Performed<Policy>> {
  const document = canonicalJson(order.document);
  return escrow.ledger.perform({
    act: 'policy.apply',
    actor: actorOf(call),
    decide: async () => {
      const current = await escrow.directory.current();
      if (!hasRole(call.caller, 'admin')) throw new EscrowError('forbidden');
      const policy = parse(document, current.version + 1);
      const signers = await signersOf(escrow, current, policy.hash, order.signatures);
      if (signers.length < POLICY_QUORUM) throw new EscrowError('policy-signatures-missing');
      return {
        detail: { version: policy.version, policyHash: policy.hash, signers, signatures: order.signatures },
        claims: [{ claim: 'policy-in-force', version: current.version }],
        plan: policy,
      };
    },
    run: (_lent, policy) => {
      const { version, hash } = policy;
      return Promise.resolve({
        detail: { version, policyHash: hash },
        digest: hash,
        changes: [{ change: 'policy-applied', version, hash, document }],
        answer: policy,
      });
    },
  });
}

/** The different administrators of the policy in force whose signatures say this hash on this version. */
async function signersOf(
  escrow: Escrow,
  current: Policy,
  hash: string,
  signatures: readonly string[],
): Promise<readonly PrincipalId[]> {
  const signers = new Set<PrincipalId>();
  const admins = [...current.principals.values()].filter((person) => hasRole(person, 'admin'));
  for (const jws of signatures) {
    for (const admin of admins) {
      const verified = await escrow.statements.verify(jws, POLICY_SIGNATURE_TYPE, admin.keys);
      if (verified === undefined) continue;
      const { iss, aud, base, exp } = verified.payload;
      if (iss !== admin.id || aud !== escrow.origin || verified.payload['hash'] !== hash) continue;
      if (typeof exp !== 'number' || exp <= escrow.clock.now().getTime() / 1000) continue;
      if (base !== current.version) throw new EscrowError('policy-stale');
      signers.add(admin.id);
    }
  }
  return [...signers].sort();
}
