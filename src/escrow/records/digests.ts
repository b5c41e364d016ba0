import { hash } from 'node:crypto';

import { type Json, canonicalJson } from '../../log/entry/canonical.js';
import type { Deposit, PurposeDeposit } from './deposit.js';
import type { PrincipalId } from './ids.js';
import { type OperateTerms, usualRequestTerms } from './policy.js';
import type { Asked, AskedPurpose, DescribedKey, Reply, RequestVersion } from './recovery.js';
import { resealPlanAsJson } from './sealing/resealing.js';

/** SHA-256, lower-case hex. */
export function sha256Hex(bytes: Uint8Array | string): string {
  return hash('sha256', bytes, 'hex');
}

/** SHA-256 (hex) of the canonical JSON (RFC 8785) of a value. */
export function canonicalHash(value: Json): string {
  return sha256Hex(canonicalJson(value));
}

/** base64url without padding (RFC 4648 section 5). */
export function base64url(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64url');
}

/** What is asked for, as canonical JSON members: in the request's hash, the attestation and the statements. */
export function askedAsJson(asked: Asked): { readonly purpose: AskedPurpose; readonly scope: Json } {
  switch (asked.purpose) {
    case 'operate':
      return {
        purpose: 'operate',
        scope: {
          app: asked.scope.app,
          operations: asked.scope.operations,
          mechanisms: asked.scope.mechanisms,
          input: asked.scope.input,
          maxUses: asked.scope.maxUses,
          rate:
            asked.scope.rate === undefined
              ? null
              : { uses: asked.scope.rate.uses, perMs: asked.scope.rate.perMs },
          durationMs: asked.scope.durationMs,
          notBefore: asked.scope.notBefore?.toISOString() ?? null,
          notAfter: asked.scope.notAfter?.toISOString() ?? null,
        },
      };
    case 'release':
      return { purpose: 'release', scope: { recipient: asked.recipient } };
    case 'reseal':
      return {
        purpose: 'reseal',
        scope: {
          job: asked.job,
          policyVersion: asked.policy.version,
          policyHash: asked.policy.hash,
          plan: canonicalHash(resealPlanAsJson(asked.plan)),
        },
      };
  }
}

export interface HashedRequest {
  /** 3: the keys by their ids alone, as requests were hashed that were filed before 4 came. */
  readonly version: RequestVersion;
  readonly recovery: string;
  readonly owner: PrincipalId;
  /** See `keySet`. */
  readonly keys: readonly DescribedKey[];
  readonly requester: PrincipalId;
  readonly asked: Asked;
  readonly reason: string;
  readonly expiresAt: Date;
  readonly approvalsHoldMs: number;
}

/** SHA-256 (hex) of the canonical request: what depositaries decide on, and what the attestation signs. */
export function requestHash(request: HashedRequest): string {
  const { version, keys } = request;
  return canonicalHash({
    version,
    recovery: request.recovery,
    ...(version === 3
      ? { keys: keys.map(({ key }) => key) }
      : { owner: request.owner, keys: descriptionsAsJson(keys) }),
    requester: request.requester,
    ...askedAsJson(request.asked),
    reason: request.reason,
    expiresAt: request.expiresAt.toISOString(),
    approvalsHoldMs: request.approvalsHoldMs,
  });
}

/** Each key with what it is, as the hash of a request and the entry of its filing have it. */
export function descriptionsAsJson(keys: readonly DescribedKey[]): Json {
  return Object.fromEntries(keys.map(({ key, label, spec, use }) => [key, { label, spec, use }]));
}

/** SHA-256 (hex) over the replies of one approval, each by its key, and purpose where that is given: what the depositary signs of them. */
export function repliesDigest(replies: readonly Reply[]): string {
  return canonicalHash(
    Object.fromEntries(
      replies.map(({ key, purpose, reply }) => [
        purpose === undefined ? key : `${key} ${purpose}`,
        sha256Hex(reply),
      ]),
    ),
  );
}

/** SHA-256 (hex) over everything that a deposit keeps, so that the log pins each ciphertext. */
export function depositDigest(deposit: Omit<Deposit, 'digest'>): string {
  const { binding, requests, operate } = deposit;
  return canonicalHash({
    ...depositAsJson(deposit),
    // 2: of deposits whose layers are bound as version 1 has it, before there was another
    ...(binding.version === 1 ? { version: 2 } : { version: 3, binding: { ...binding } }),
    requests: { ...requests, denialsToEnd: requests.denialsToEnd ?? null },
    operate: operate === undefined ? null : operateAsJson(operate),
  });
}

/** What the digests of all versions are of. */
function depositAsJson(deposit: Omit<Deposit, 'digest'>): Readonly<Record<string, Json>> {
  return {
    key: deposit.key,
    owner: deposit.owner,
    label: deposit.label,
    spec: deposit.spec,
    use: deposit.use,
    publicKey: deposit.publicKey === undefined ? null : base64url(deposit.publicKey),
    ...(deposit.checkValue === undefined ? {} : { checkValue: base64url(deposit.checkValue) }),
    // absent, not false, in deposits of keys that were born in the token: their digest is what it was
    ...(deposit.bornOutside === true ? { bornOutside: true } : {}),
    createdAt: deposit.createdAt.toISOString(),
    rule: { ...deposit.rule },
    requesters: deposit.requesters,
    release: deposit.release === undefined ? null : { ...deposit.release },
    purposes: deposit.purposes.map(purposeAsJson),
    ownersCopy:
      deposit.ownersCopy === undefined
        ? null
        : { transferKey: base64url(deposit.ownersCopy.transferKey), key: base64url(deposit.ownersCopy.key) },
  };
}

/**
 * The digest of a deposit that was made before rules had terms for requests, of which it has those that were added to it
 * since: version 1. Undefined for one that has other terms.
 */
export function firstDepositDigest(deposit: Omit<Deposit, 'digest'>): string | undefined {
  const { binding, requests, operate, release } = deposit;
  const added = { ...usualRequestTerms(release?.delayMs ?? 0), denialsToEnd: null };
  const { operations, maxUses, maxDurationMs } = operate ?? {};
  const bounds = { operations: operations ?? [], maxUses: maxUses ?? 0, maxDurationMs: maxDurationMs ?? 0 };
  const isAsAdded =
    binding.version === 1 &&
    isSame({ ...requests, denialsToEnd: requests.denialsToEnd ?? null }, added) &&
    (operate === undefined || isSame(operateAsJson(operate), { ...bounds, ...ADDED_TO_OPERATE }));
  if (!isAsAdded) return undefined;
  return canonicalHash({
    ...depositAsJson(deposit),
    version: 1,
    operate: operate === undefined ? null : bounds,
  });
}

/** What migration 006 gave to terms that did not have it. */
const ADDED_TO_OPERATE = {
  rate: null,
  mechanisms: null,
  input: 'digest',
  delayMs: 0,
  ownerMayVeto: false,
} as const;

function isSame(one: Json, other: Json): boolean {
  return canonicalJson(one) === canonicalJson(other);
}

function operateAsJson(terms: OperateTerms): Json {
  const { rate, mechanisms, ...rest } = terms;
  return { ...rest, rate: rate === undefined ? null : { ...rate }, mechanisms: mechanisms ?? null };
}

function purposeAsJson(purpose: PurposeDeposit): Json {
  return {
    purpose: purpose.purpose,
    kek: purpose.kek,
    mechanisms: { ...purpose.mechanisms },
    shares: purpose.shares.map((share) => ({
      depositary: share.depositary,
      recipient: share.recipient,
      share: base64url(share.share),
      link: base64url(share.link),
      // absent, not null, in deposits from before the server's pairs had versions: their digest is what it was
      ...(share.serverFor === undefined ? {} : { serverFor: share.serverFor }),
    })),
    quorums: purpose.quorums.map((quorum) => ({ members: quorum.members, sealed: base64url(quorum.sealed) })),
  };
}
