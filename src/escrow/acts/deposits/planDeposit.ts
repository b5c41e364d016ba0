import type { Call, Escrow } from '../../escrow.js';
import type { EnrolledDepositary } from '../../ports/token.js';
import { EscrowError } from '../../records/errors.js';
import type { KeyId, PrincipalId } from '../../records/ids.js';
import { newId } from '../../records/ids.js';
import { type KeySpec, type KeyUse, specAllows } from '../../records/keySpecs.js';
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
  return {
    key: newId('KeyId', escrow.random),
    policy,
    rule,
    quorums,
    depositaries: await recipientsOf(escrow, policy, quorums),
    deliveryKey: order.deliver ? deliveryKey(rule, owner) : undefined,
  };
}

/**
 * Everybody in these quorums, in lexical order, with the key that shares go to: the administrators list its fingerprint, and the
 * security officer has made it trusted. Neither alone says who gets shares.
 *
 * @throws EscrowError `depositary-not-enrolled`
 */
export async function recipientsOf(
  { token }: Pick<Escrow, 'token'>,
  { principals }: Policy,
  quorums: readonly Quorum[],
): Promise<readonly EnrolledDepositary[]> {
  const enrolled = new Map((await token.enrolled()).map((depositary) => [depositary.id, depositary]));
  return depositariesIn(quorums).map((id) => {
    const depositary = enrolled.get(id);
    const isListed = depositary?.fingerprint === principals.get(id)?.depositaryKey;
    if (depositary === undefined || !isListed) throw new EscrowError('depositary-not-enrolled');
    return depositary;
  });
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
