import type { LentFor } from '../../ledger/means.js';
import type { Escrow } from '../../escrow.js';
import type { Detail } from '../../ledger/act.js';
import type { Deposit, OwnersCopy, PurposeDeposit, SealedQuorum, Share } from '../../records/deposit.js';
import { depositDigest, sha256Hex } from '../../records/digests.js';
import { EscrowError } from '../../records/errors.js';
import type { PrincipalId } from '../../records/ids.js';
import type { KeySpec, KeyUse } from '../../records/keySpecs.js';
import type { Layers } from '../../records/layers.js';
import { layerContext, termsHash } from '../../records/layers.js';
import { PURPOSES, repliesOf } from '../../records/policy.js';
import type { Quorum } from '../../records/quorum.js';
import type { Held, Opener, Sealed } from '../../records/sealed.js';
import type { DepositPlan, KeyOrder } from './planDeposit.js';

/** A key in flight, and where it was born. */
export interface UserKey {
  readonly key: Held<'user-key'>;
  /** DER SubjectPublicKeyInfo; undefined for symmetric keys. */
  readonly publicKey: Uint8Array | undefined;
  readonly born: 'inside' | 'outside';
}

type Lent = Omit<LentFor<'key.generate'>, 'generateUserKey'>;

/** Deposits a key in flight as it was planned: for each purpose of the rule, and a copy for the owner where it was ordered. */
export async function sealDeposit(
  escrow: Escrow,
  lent: Lent,
  { order, plan, user }: { readonly order: KeyOrder; readonly plan: DepositPlan; readonly user: UserKey },
): Promise<Deposit> {
  const { key, publicKey } = user;
  const { rule, policy } = plan;
  const { owner, label, spec, use } = order;
  const bornOutside = user.born === 'outside';
  const binding = { version: 2, generation: 1, token: escrow.tokenId } as const;
  const purposes: PurposeDeposit[] = [];
  for (const purpose of PURPOSES) {
    const brakes = rule[purpose];
    if (brakes === undefined) continue;
    const terms = termsHash({
      ...{ owner, label, spec, use, publicKey, bornOutside, requesters: rule.requesters },
      ...{ delayMs: brakes.delayMs, ownerMayVeto: brakes.ownerMayVeto, ...repliesOf(brakes) },
      quorums: plan.quorums,
      recipients: plan.depositaries.map(({ id, fingerprint }) => ({ depositary: id, fingerprint })),
    });
    const of = { key: plan.key, purpose, binding, terms };
    purposes.push(await depositFor(of, escrow, lent, { key, spec, use }, plan));
  }
  const deposit: Omit<Deposit, 'digest'> = {
    ...{ key: plan.key, owner, label, spec, use, publicKey },
    ...(bornOutside ? { bornOutside } : {}),
    createdAt: escrow.clock.now(),
    binding,
    rule: { name: rule.name, policyVersion: policy.version, policyHash: policy.hash },
    requesters: rule.requesters,
    requests: rule.requests,
    operate: rule.operate,
    release: rule.release,
    purposes,
    ownersCopy: plan.deliveryKey === undefined ? undefined : await copyFor(lent, key, plan.deliveryKey),
  };
  return { ...deposit, digest: depositDigest(deposit) };
}

/** What the entry of the outcome says of it. */
export function depositAsDetail(deposit: Deposit): Detail {
  return {
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
  };
}

/** One purpose: the key under its KEK, a share and a link for each depositary, and a sealed copy for each quorum. */
async function depositFor(
  of: Layers,
  escrow: Escrow,
  lent: Lent,
  user: { readonly key: Held<'user-key'>; readonly spec: KeySpec; readonly use: KeyUse },
  plan: DepositPlan,
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
