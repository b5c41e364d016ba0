import type { LentFor } from '../../ledger/means.js';
import type { Escrow } from '../../escrow.js';
import type { Detail } from '../../ledger/act.js';
import type { Wrapped } from '../../ports/token.js';
import type { Deposit, OwnersCopy, PurposeDeposit, SealedQuorum, Share } from '../../records/deposit.js';
import { base64url, depositDigest, sha256Hex } from '../../records/digests.js';
import { MAX_CHAINED, chainEnd } from '../../records/drills/drilling.js';
import { EscrowError } from '../../records/errors.js';
import type { PrincipalId } from '../../records/ids.js';
import type { Layers } from '../../records/sealing/layers.js';
import { layerContext, layersFor } from '../../records/sealing/layers.js';
import { PURPOSES } from '../../records/policy.js';
import type { Quorum } from '../../records/quorum.js';
import type { Held, Opener, Sealed } from '../../records/sealing/sealed.js';
import type { DepositPlan, KeyOrder } from './planDeposit.js';
import { type MadeLink, proveMade, proveSealing } from './proveDeposit.js';

/** A key in flight, and where it was born. */
export interface UserKey {
  readonly key: Held<'user-key'>;
  /** DER SubjectPublicKeyInfo; undefined for symmetric keys. */
  readonly publicKey: Uint8Array | undefined;
  /** Of a secret alone. */
  readonly checkValue?: Uint8Array;
  readonly born: 'inside' | 'outside';
}

type Lent = Omit<LentFor<'key.generate'>, 'generateUserKey'>;
/** What sealing takes, of whatever is ciphertext already. */
type LentToSeal = Pick<
  Lent,
  | 'generateShareKey'
  | 'generateLayerKey'
  | 'wrapToServerFor'
  | 'wrapToDepositary'
  | 'sealUnder'
  | 'proveSealed'
  | 'unwrapLayer'
  | 'openUnder'
>;

/** By depositary: the end of the chain of hashes that drills of their share show (base64url); empty with very many of them. */
export type DrillEnds = Readonly<Record<string, string>>;

/** A purpose of a deposit, and what its entry records for drills: that stands nowhere else. */
export interface SealedPurpose {
  readonly purpose: PurposeDeposit;
  readonly drills: DrillEnds;
}

/** Deposits a key in flight as it was planned: for each purpose of the rule, and a copy for the owner where it was ordered. */
export async function sealDeposit(
  escrow: Escrow,
  lent: Lent,
  { order, plan, user }: { readonly order: KeyOrder; readonly plan: DepositPlan; readonly user: UserKey },
): Promise<{ readonly deposit: Deposit; readonly drills: readonly DrillEnds[] }> {
  const { key, publicKey, checkValue } = user;
  const { rule, policy } = plan;
  const { owner, label, spec, use } = order;
  const common: Omit<Deposit, 'digest' | 'purposes' | 'ownersCopy'> = {
    ...{ key: plan.key, owner, label, spec, use, publicKey },
    ...(checkValue === undefined ? {} : { checkValue }),
    ...(user.born === 'outside' ? { bornOutside: true } : {}),
    createdAt: escrow.clock.now(),
    binding: { version: 2, generation: 1, token: escrow.tokenId },
    rule: { name: rule.name, policyVersion: policy.version, policyHash: policy.hash },
    requesters: rule.requesters,
    requests: rule.requests,
    operate: rule.operate,
    release: rule.release,
  };
  const sealed: SealedPurpose[] = [];
  for (const purpose of PURPOSES) {
    if (rule[purpose] === undefined) continue;
    const of = layersFor(common, purpose, { quorums: plan.quorums, recipients: plan.depositaries });
    const wrapped = await lent.wrapUnderKek(key, purpose, { spec, use });
    const made = await overwritten(wrapped, async () => {
      await proveMade(lent, key, wrapped, { ...common, purpose });
      return sealPurpose(of, escrow, lent, wrapped, plan);
    });
    sealed.push(made);
  }
  const ownersCopy = plan.deliveryKey === undefined ? undefined : await copyFor(lent, key, plan.deliveryKey);
  const deposit = { ...common, purposes: sealed.map(({ purpose }) => purpose), ownersCopy };
  return {
    deposit: { ...deposit, digest: depositDigest(deposit) },
    drills: sealed.map(({ drills }) => drills),
  };
}

/** What the entry of the outcome says of it; `drills` are those of its purposes, in their order. */
export function depositAsDetail(deposit: Deposit, drills: readonly DrillEnds[]): Detail {
  return {
    shares: deposit.purposes.map(({ purpose, kek, shares }, at) => ({
      purpose,
      kek,
      recipients: shares.map(({ depositary, recipient, share }) => ({
        depositary,
        recipient,
        share: sha256Hex(share),
        ...drillFact(drills[at]?.[depositary]),
      })),
    })),
    delivered: deposit.ownersCopy !== undefined,
  };
}

function drillFact(end: string | undefined): Detail {
  return end === undefined ? {} : { drill: end };
}

/** Overwrites a key under its KEK once `work` is over, whatever came of it: whoever has it and the PIN needs no depositary. */
export async function overwritten<T>({ sealed }: Wrapped, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } finally {
    sealed.fill(0);
  }
}

/**
 * Seals a key, under its KEK, for one purpose: a share and a link for each depositary, and a sealed copy for each quorum; and has the
 * token open each link and each copy once.
 * @throws EscrowError `token-unavailable`, when one does not open
 */
export async function sealPurpose(
  of: Layers,
  escrow: Pick<Escrow, 'token'>,
  lent: LentToSeal,
  wrapped: Wrapped,
  plan: Pick<DepositPlan, 'quorums' | 'depositaries'>,
): Promise<SealedPurpose> {
  const { purpose } = of;
  const drills: Record<string, string> = {};
  const isChained = plan.depositaries.length <= MAX_CHAINED;
  const layers = new Map<PrincipalId, Held<'layer-key'>>();
  const shares: Share[] = [];
  const links: MadeLink[] = [];
  for (const recipient of plan.depositaries) {
    const { id: depositary, fingerprint } = recipient;
    const r = await lent.generateShareKey();
    const l = await lent.generateLayerKey();
    layers.set(depositary, l);
    const linked = await lent.wrapToServerFor(l, depositary);
    const place = layerContext(of, { depositary });
    if (isChained) drills[depositary] = base64url(chainEnd(linked.sealed));
    const share = await lent.wrapToDepositary(r, recipient);
    const link = await lent.sealUnder(r, linked.sealed, place);
    shares.push({ depositary, recipient: fingerprint, share, link, serverFor: linked.version });
    links.push({ depositary, shareKey: r, layer: linked, link });
  }
  const quorums: SealedQuorum[] = [];
  for (const members of plan.quorums) {
    const place = layerContext(of, { quorum: members });
    quorums.push({ members, sealed: await sealFor(lent, wrapped.sealed, members, layers, place) });
  }
  await proveSealing(lent, of, wrapped, { links, quorums });
  const mechanisms = { wrap: 'RFC5649', oaep: escrow.token.abilities.oaep, seal: 'A256GCM' } as const;
  return { purpose: { purpose, kek: wrapped.kek, mechanisms, shares, quorums }, drills };
}

/** One layer for each member; the first member's is the outermost. */
async function sealFor(
  lent: Pick<Lent, 'sealUnder'>,
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
