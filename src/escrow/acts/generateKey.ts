import type { LentFor } from '../ledger/means.js';
import type { Call, Escrow } from '../escrow.js';
import { actorOf } from '../escrow.js';
import type { Deposit, OwnersCopy, PurposeDeposit, SealedQuorum, Share } from '../records/deposit.js';
import { depositDigest, sha256Hex } from '../records/digests.js';
import { EscrowError } from '../records/errors.js';
import { keyFree, repeatOf } from './idempotency.js';
import type { KeyId, PrincipalId } from '../records/ids.js';
import { newId, parseId } from '../records/ids.js';
import type { KeySpec, KeyUse } from '../records/keySpecs.js';
import { specAllows } from '../records/keySpecs.js';
import type { Layers } from '../records/layers.js';
import { layerContext, termsHash } from '../records/layers.js';
import type { Policy, Rule } from '../records/policy.js';
import { PURPOSES, repliesOf } from '../records/policy.js';
import type { EnrolledDepositary } from '../ports/token.js';
import type { Principal } from '../records/principals.js';
import { hasRole } from '../records/principals.js';
import type { Quorum } from '../records/quorum.js';
import { depositariesIn } from '../rules/quorums.js';
import { choose, getOwner } from '../rules/rules.js';
import type { Held, Opener, Sealed } from '../records/sealed.js';
import type { Recorded } from '../ledger/act.js';
import { viewKey } from '../reads/keys.js';

/** What kind of key is wanted, and for whom. */
export interface KeyOrder {
  readonly owner: PrincipalId;
  readonly spec: KeySpec;
  readonly use: KeyUse;
  readonly label: string;
  /** Whether the owner gets a copy, encrypted to their delivery key. */
  readonly deliver: boolean;
}

/**
 * Generates a key and deposits it, in one act (docs/protocol.md, "Deposit"): there is no key without a deposit, and none without
 * a record. Administrators may order keys for anyone, owners for themselves. Asked again with the same Idempotency-Key,
 * it answers with the key that was made.
 *
 * @throws EscrowError `forbidden`, `owner-unknown`, `key-use-unsupported`, `key-spec-unsupported`, `rule-missing`,
 *   `depositary-unknown`, `depositary-not-enrolled`, `depositary-retired`, `quorum-impossible`, `quorum-too-large`,
 *   `delivery-not-allowed`, `delivery-key-missing`, `idempotency-key-reused`, `idempotency-in-progress`, `busy` (a policy is being put
 *   in force): each before anything is made; `token-unavailable`, `log-unavailable`.
 */
export function generateKey(escrow: Escrow, call: Call, order: KeyOrder): Promise<Recorded<Deposit>> {
  return escrow.ledger.perform({
    act: 'key.generate',
    actor: actorOf(call),
    decide: async (about) => {
      about({ owner: order.owner });
      const repeats = await repeatOf(escrow, call, ({ key }) => madeBefore(escrow, call, key));
      if (repeats !== undefined) return { repeats };
      const plan = await decide(escrow, call, order);
      about({ key: plan.key });
      return {
        detail: {
          spec: order.spec,
          use: order.use,
          rule: plan.rule.name,
          policyVersion: plan.policy.version,
          policyHash: plan.policy.hash,
          quorums: plan.quorums,
        },
        claims: keyFree(escrow, call),
        // who puts a policy in force has counted the keys that it leaves without a quorum: this one is not among them
        holds: ({ isPolicyUnderWay }) => {
          if (isPolicyUnderWay) throw new EscrowError('busy', 'A policy is being put in force; try again.');
        },
        plan,
      };
    },
    run: async (lent, plan) => {
      const deposit = await bear(escrow, lent, order, plan);
      return {
        detail: {
          shares: deposit.purposes.map(({ purpose, kek, shares }) => ({
            purpose,
            kek,
            recipients: shares.map(({ depositary, recipient, share }) => ({
              depositary,
              recipient,
              share: sha256Hex(share),
            })),
          })),
          delivered: deposit.ownersCopy !== undefined,
        },
        digest: deposit.digest,
        changes: [{ change: 'deposit-created', deposit }],
        answer: deposit,
      };
    },
  });
}

async function madeBefore(escrow: Escrow, call: Call, key: string | undefined): Promise<Deposit> {
  const id = parseId('KeyId', key ?? '');
  if (id === undefined) throw new EscrowError('internal');
  return viewKey(escrow, call, id);
}

interface Plan {
  readonly key: KeyId;
  readonly policy: Policy;
  readonly rule: Rule;
  readonly quorums: readonly Quorum[];
  readonly depositaries: readonly EnrolledDepositary[];
  readonly deliveryKey: Uint8Array | undefined;
}

async function decide(escrow: Escrow, { caller, policy }: Call, order: KeyOrder): Promise<Plan> {
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

type Lent = LentFor<'key.generate'>;

async function bear(escrow: Escrow, lent: Lent, order: KeyOrder, plan: Plan): Promise<Deposit> {
  const { key: user, publicKey } = await lent.generateUserKey(order.spec);
  const { rule, policy } = plan;
  const { owner, label, spec, use } = order;
  const binding = { version: 2, generation: 1, token: escrow.tokenId } as const;
  const purposes: PurposeDeposit[] = [];
  for (const purpose of PURPOSES) {
    const brakes = rule[purpose];
    if (brakes === undefined) continue;
    const terms = termsHash({
      ...{ owner, label, spec, use, publicKey, requesters: rule.requesters },
      ...{ delayMs: brakes.delayMs, ownerMayVeto: brakes.ownerMayVeto, ...repliesOf(brakes) },
      quorums: plan.quorums,
      recipients: plan.depositaries.map(({ id, fingerprint }) => ({ depositary: id, fingerprint })),
    });
    purposes.push(
      await depositFor(
        { key: plan.key, purpose, binding, terms },
        escrow,
        lent,
        { key: user, spec, use },
        plan,
      ),
    );
  }
  const deposit: Omit<Deposit, 'digest'> = {
    ...{ key: plan.key, owner, label, spec, use, publicKey },
    createdAt: escrow.clock.now(),
    binding,
    rule: { name: rule.name, policyVersion: policy.version, policyHash: policy.hash },
    requesters: rule.requesters,
    requests: rule.requests,
    operate: rule.operate,
    release: rule.release,
    purposes,
    ownersCopy: plan.deliveryKey === undefined ? undefined : await copyFor(lent, user, plan.deliveryKey),
  };
  return { ...deposit, digest: depositDigest(deposit) };
}

/** One purpose: the key under its KEK, a share and a link for each depositary, and a sealed copy for each quorum. */
async function depositFor(
  of: Layers,
  escrow: Escrow,
  lent: Lent,
  user: { readonly key: Held<'user-key'>; readonly spec: KeySpec; readonly use: KeyUse },
  plan: Plan,
): Promise<PurposeDeposit> {
  const { purpose } = of;
  const { sealed: wrapped, kek } = await lent.wrapUnderKek(user.key, purpose, user);
  const layers = new Map<PrincipalId, Held<'layer-key'>>();
  const shares: Share[] = [];
  for (const { id: depositary, fingerprint } of plan.depositaries) {
    const r = await lent.generateShareKey();
    const l = await lent.generateLayerKey();
    layers.set(depositary, l);
    const linked = await lent.wrapToServerFor(l, depositary);
    const place = layerContext(of, { depositary });
    shares.push({
      depositary,
      recipient: fingerprint,
      share: await lent.wrapToDepositary(r, depositary),
      link: await lent.sealUnder(r, linked.sealed, place),
      serverFor: linked.version,
    });
  }
  const quorums: SealedQuorum[] = [];
  for (const members of plan.quorums) {
    const place = layerContext(of, { quorum: members });
    quorums.push({ members, sealed: await sealFor(lent, wrapped, members, layers, place) });
  }
  const mechanisms = { wrap: 'RFC5649', oaep: escrow.token.abilities.oaep, seal: 'A256GCM' } as const;
  return { purpose, kek, mechanisms, shares, quorums };
}

/** One layer for each member; the first member's is the outermost. */
async function sealFor(
  lent: Lent,
  wrapped: Sealed<'kek'>,
  members: Quorum,
  layers: ReadonlyMap<PrincipalId, Held<'layer-key'>>,
  place: Uint8Array,
): Promise<Sealed<'layer-key'>> {
  let inner: Sealed<Opener> = wrapped;
  let outer: Sealed<'layer-key'> | undefined;
  for (const member of [...members].reverse()) {
    const layer = layers.get(member);
    if (layer === undefined) throw new EscrowError('internal');
    outer = await lent.sealUnder(layer, inner, place);
    inner = outer;
  }
  // a quorum without members would be a deposit that anyone can open
  if (outer === undefined) throw new EscrowError('quorum-impossible');
  return outer;
}

async function copyFor(lent: Lent, user: Held<'user-key'>, key: Uint8Array): Promise<OwnersCopy> {
  const transfer = await lent.generateTransferKey('owner');
  return {
    transferKey: await lent.wrapToOwner(transfer, key),
    key: await lent.wrapUnderTransfer(transfer, user),
  };
}
