import type { Json } from '../../log/entry/canonical.js';
import { canonicalJson } from '../../log/entry/canonical.js';
import type { Call, Escrow } from '../escrow.js';
import { actorOf } from '../escrow.js';
import { EscrowError } from '../records/errors.js';
import type { PrincipalId } from '../records/ids.js';
import { smallQuorums } from '../rules/minimumQuorum.js';
import { inTokenNow } from '../reads/coverage.js';
import { type Losses, lossesOf } from '../rules/losses.js';
import { newPolicyProblems } from '../rules/newPolicy.js';
import type { Policy } from '../records/policy.js';
import type { PlannedPolicy } from '../rules/plannedPolicy.js';
import { unlessKeysAreResealed } from './deposits/planReseal.js';
import { isOnTopOf, policySignatures, signersOf } from '../rules/policySignatures.js';
import type { PolicyParser } from '../ports/statements.js';
import { hasRole } from '../records/principals.js';
import type { Recorded } from '../ledger/act.js';

/** A policy document and the administrators' signatures on its hash. */
export interface PolicyOrder {
  readonly document: Json;
  readonly signatures: readonly string[];
  /** How many keys may be left without a live quorum that have one: exactly so many, or it is refused. */
  readonly acceptUnrecoverable: number;
}

/**
 * Reads a document as the policy that follows the one in force, and holds it against everything but signatures. Counts the
 * keys that it leaves covered worse, by the log: while the token is out, as people are listed alone. Changes nothing.
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
  const inToken = await inTokenNow(escrow);
  await escrow.followed.caughtUp();
  const losses = lossesNow(escrow, { current, next, inToken });
  return { current, next, signersNeeded: directory.signersNeeded(current), inToken, losses };
}

/** What a policy does to the keys of the log as far as it was followed, and to those that are being made by it. */
function lossesNow(
  { followed: { facts } }: Pick<Escrow, 'followed'>,
  { current, next, inToken }: Pick<PlannedPolicy, 'current' | 'next' | 'inToken'>,
): Losses {
  return lossesOf([...facts.depositGroups(), ...facts.depositsBeingMade()], current, next, inToken);
}

/** Whoever applies a policy says how many keys nobody can bring back any more: so many it must be, no more and no fewer. */
function requireAccepted({ lost }: Losses, accepted: number): void {
  if (lost === accepted) return;
  throw new EscrowError(
    'unrecoverable-not-accepted',
    `The policy would leave ${lost} ${lost === 1 ? 'key' : 'keys'} without any live quorum that ${lost === 1 ? 'has' : 'have'} one now, and ${accepted} ${accepted === 1 ? 'was' : 'were'} accepted.`,
  );
}

/**
 * Puts directory and rules in force, when as many administrators of the policy in force as it asks for have signed the
 * identical document on top of exactly that policy, and whoever applies it says how many keys it leaves without a live quorum. That is
 * counted again when the attempt stands in the log; keys that are asked for behind it are not made before it has an outcome.
 * Who is enrolled decides that number, so nothing is put in force while the token does not say.
 *
 * @throws EscrowError `forbidden`, `policy-invalid`, `policy-signatures-missing`, `policy-stale`, `token-unavailable`,
 *   `unrecoverable-not-accepted`, `busy` while keys are being sealed anew by the policy in force.
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
      const planned = await planPolicy(escrow, parse, order.document);
      const { current, next: policy, signersNeeded: needed } = planned;
      const signers = await freshSigners(escrow, current, policy.hash, order.signatures);
      if (signers.length < needed)
        throw new EscrowError(
          'policy-signatures-missing',
          `A policy needs the signatures of ${needed} different administrators, and this one has ${signers.length}.`,
        );
      if (planned.inToken.enrolled === undefined)
        throw new EscrowError(
          'token-unavailable',
          'The token does not say who is enrolled: how many keys the policy would lose is not known.',
        );
      requireAccepted(planned.losses, order.acceptUnrecoverable);
      return {
        detail: {
          version: policy.version,
          policyHash: policy.hash,
          replaces: current.hash,
          signers,
          signatures: order.signatures,
          unrecoverable: order.acceptUnrecoverable,
        },
        claims: [{ claim: 'policy-in-force', version: current.version }],
        // a key may have been born since, or be about to be
        holds: (asOf) => {
          unlessKeysAreResealed(asOf);
          requireAccepted(lossesNow(escrow, planned), order.acceptUnrecoverable);
        },
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
