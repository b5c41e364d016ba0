import type { Call, Escrow } from '../../escrow.js';
import type { EnrolledDepositary } from '../../ports/token.js';
import { EscrowError } from '../../records/errors.js';
import type { KeyId, PrincipalId } from '../../records/ids.js';
import { newId } from '../../records/ids.js';
import type { KeySpec, KeyUse } from '../../records/keySpecs.js';
import { specAllows } from '../../records/keySpecs.js';
import type { Policy, Rule } from '../../records/policy.js';
import type { Principal } from '../../records/principals.js';
import { hasRole } from '../../records/principals.js';
import type { Quorum } from '../../records/quorum.js';
import type { Detail } from '../../ledger/act.js';
import type { AsOf } from '../../logged/logFacts.js';
import { depositariesIn } from '../../rules/quorums.js';
import { choose, getOwner } from '../../rules/rules.js';

/** What kind of key is wanted, and for whom. */
export interface KeyOrder {
  readonly owner: PrincipalId;
  readonly spec: KeySpec;
  readonly use: KeyUse;
  readonly label: string;
  /** Whether the owner gets a copy, encrypted to their delivery key. */
  readonly deliver: boolean;
}

/** By what a key is deposited, and with whom. */
export interface DepositPlan {
  readonly key: KeyId;
  readonly policy: Policy;
  readonly rule: Rule;
  readonly quorums: readonly Quorum[];
  readonly depositaries: readonly EnrolledDepositary[];
  readonly deliveryKey: Uint8Array | undefined;
}

/**
 * Decides how a key is deposited: administrators may order keys for anyone, owners for themselves.
 * @throws EscrowError `forbidden`, `owner-unknown`, `key-use-unsupported`, `key-spec-unsupported`, `rule-missing`,
 *   `depositary-unknown`, `depositary-not-enrolled`, `depositary-retired`, `quorum-impossible`, `quorum-too-large`,
 *   `delivery-not-allowed`, `delivery-key-missing`
 */
export async function planDeposit(
  escrow: Escrow,
  { caller, policy }: Call,
  order: KeyOrder,
): Promise<DepositPlan> {
  if (!hasRole(caller, 'admin') && caller.id !== order.owner) throw new EscrowError('forbidden');
  const owner = getOwner(policy, order.owner);
  if (!specAllows(order.spec, order.use)) throw new EscrowError('key-use-unsupported');
  if (!escrow.token.abilities.keySpecs.includes(order.spec)) throw new EscrowError('key-spec-unsupported');
  const { rule, quorums } = choose(policy, owner, order.spec, order.use);
  const enrolled = new Map((await escrow.token.enrolled()).map((depositary) => [depositary.id, depositary]));
  const depositaries = depositariesIn(quorums).map((id) => {
    const depositary = enrolled.get(id);
    // the administrators list the fingerprint, the security officer makes the key trusted: neither alone says who gets shares
    const isListed = depositary?.fingerprint === policy.principals.get(id)?.depositaryKey;
    if (depositary === undefined || !isListed) throw new EscrowError('depositary-not-enrolled');
    return depositary;
  });
  return {
    key: newId('KeyId', escrow.random),
    policy,
    rule,
    quorums,
    depositaries,
    deliveryKey: order.deliver ? deliveryKey(rule, owner) : undefined,
  };
}

function deliveryKey(rule: Rule, owner: Principal): Uint8Array {
  if (!rule.deliver) throw new EscrowError('delivery-not-allowed');
  if (owner.deliveryKey === undefined) throw new EscrowError('delivery-key-missing');
  return owner.deliveryKey;
}

/** What the entry of the attempt says of it. */
export function planAsDetail({ spec, use }: KeyOrder, { rule, policy, quorums }: DepositPlan): Detail {
  return {
    spec,
    use,
    rule: rule.name,
    policyVersion: policy.version,
    policyHash: policy.hash,
    quorums,
  };
}

/**
 * Who puts a policy in force has counted the keys that it leaves without a quorum: one that is made meanwhile is not among them.
 * @throws EscrowError `busy`
 */
export function unlessPolicyChanges({ isPolicyUnderWay }: AsOf): void {
  if (isPolicyUnderWay) throw new EscrowError('busy', 'A policy is being put in force; try again.');
}
