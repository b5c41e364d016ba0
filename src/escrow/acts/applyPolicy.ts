import type { Json } from '../../log/entry/canonical.js';
import { canonicalJson } from '../../log/entry/canonical.js';
import type { Call, Escrow } from '../escrow.js';
import { actorOf } from '../escrow.js';
import { EscrowError } from '../records/errors.js';
import type { PrincipalId } from '../records/ids.js';
import { smallQuorums } from '../rules/minimumQuorum.js';
import { newPolicyProblems } from '../rules/newPolicy.js';
import type { Policy } from '../records/policy.js';
import { isOnTopOf, policySignatures, signersOf } from '../rules/policySignatures.js';
import type { PolicyParser } from '../ports/statements.js';
import { hasRole } from '../records/principals.js';
import type { Recorded } from '../ledger/act.js';

/** A policy document and the administrators' signatures on its hash. */
export interface PolicyOrder {
  readonly document: Json;
  readonly signatures: readonly string[];
}

/** What a document would be, were it put in force now. */
export interface PlannedPolicy {
  readonly current: Policy;
  readonly next: Policy;
  /** So many administrators must sign it. */
  readonly signersNeeded: number;
}

/**
 * Reads a document as the policy that follows the one in force, and holds it against everything but signatures. Changes
 * nothing.
 *
 * @throws EscrowError `policy-invalid`, as {@link applyPolicy} would.
 */
export async function planPolicy(
  escrow: Escrow,
  parse: PolicyParser,
  document: Json,
): Promise<PlannedPolicy> {
  const { directory } = escrow;
  const current = await directory.current();
  const next = parse(canonicalJson(document), current.version + 1);
  const [problem] = newPolicyProblems(document, next);
  if (problem !== undefined) throw new EscrowError('policy-invalid', `${problem}.`);
  await checkSuccession(escrow, next);
  return { current, next, signersNeeded: directory.signersNeeded(current) };
}

/**
 * Puts directory and rules in force, when as many administrators of the policy in force as it asks for have signed the
 * identical document on top of exactly that policy.
 *
 * @throws EscrowError `forbidden`, `policy-invalid`, `policy-signatures-missing`, `policy-stale`.
 */
export function applyPolicy(
  escrow: Escrow,
  call: Call,
  parse: PolicyParser,
  order: PolicyOrder,
): Promise<Recorded<Policy>> {
  const document = canonicalJson(order.document);
  return escrow.ledger.perform({
    act: 'policy.apply',
    actor: actorOf(call),
    decide: async () => {
      if (!hasRole(call.caller, 'admin')) throw new EscrowError('forbidden');
      const {
        current,
        next: policy,
        signersNeeded: needed,
      } = await planPolicy(escrow, parse, order.document);
      const signers = await freshSigners(escrow, current, policy.hash, order.signatures);
      if (signers.length < needed)
        throw new EscrowError(
          'policy-signatures-missing',
          `A policy needs the signatures of ${needed} different administrators, and this one has ${signers.length}.`,
        );
      return {
        detail: {
          version: policy.version,
          policyHash: policy.hash,
          replaces: current.hash,
          signers,
          signatures: order.signatures,
        },
        claims: [{ claim: 'policy-in-force', version: current.version }],
        plan: policy,
      };
    },
    run: (_lent, policy) => {
      const { version, hash } = policy;
      return Promise.resolve({
        detail: { version, policyHash: hash },
        digest: hash,
        changes: [
          {
            change: 'policy-applied',
            version,
            hash,
            document,
            signatures: order.signatures,
            at: escrow.clock.now(),
          },
        ],
        answer: policy,
      });
    },
  });
}

/** What a policy must keep of those before it, and of what the daemon is configured with. */
async function checkSuccession({ directory }: Escrow, next: Policy): Promise<void> {
  const { quorum } = next.administration;
  if (quorum < directory.floor)
    throw new EscrowError(
      'policy-invalid',
      `administration.quorum: ${quorum} is below the floor of ${directory.floor} that the daemon is configured with.`,
    );
  const { minimumQuorum } = next.administration;
  const [small] = smallQuorums(next, minimumQuorum);
  if (small !== undefined)
    throw new EscrowError(
      'policy-invalid',
      `${small}, and administration.minimumQuorum is ${minimumQuorum}.`,
    );
  const problem = await directory.idProblem(next);
  if (problem !== undefined) throw new EscrowError('policy-invalid', `principals: ${problem}.`);
}

/** The different administrators of the policy in force whose signatures say this hash on this version, and still hold. */
async function freshSigners(
  escrow: Escrow,
  current: Policy,
  hash: string,
  signatures: readonly string[],
): Promise<readonly PrincipalId[]> {
  const now = escrow.clock.now().getTime() / 1000;
  const valid = await policySignatures(escrow, current, hash, signatures);
  const fresh = valid.filter(({ expiresAt }) => expiresAt > now);
  if (fresh.some((signature) => !isOnTopOf(current, signature))) throw new EscrowError('policy-stale');
  return signersOf(fresh);
}
