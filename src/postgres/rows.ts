import type { Deposit, OwnersCopy, PurposeDeposit } from '../escrow/records/deposit.js';
import type { Grant } from '../escrow/records/grant.js';
import type { RecentUses } from '../escrow/records/rate.js';
import type { Approval, Asked, Recovery, RecoveryState } from '../escrow/records/recovery.js';
import type { ResealPlan } from '../escrow/records/sealing/resealing.js';
import type { Scope } from '../escrow/records/scope.js';
import type { Brakes, OperateTerms } from '../escrow/records/policy.js';
import { sealed, type Opener, type Sealed } from '../escrow/records/sealing/sealed.js';

/** A value as its JSON in the database: bytes in base64, instants in RFC 3339, `null` for what is not given. */
export type Stored<T> = T extends Uint8Array | Date
  ? string
  : T extends undefined
    ? null
    : T extends string | number | boolean
      ? T
      : T extends readonly (infer Item)[]
        ? readonly Stored<Item>[]
        : { readonly [Member in keyof T]: Stored<T[Member]> };

/** The columns of a deposit; all but `document` are there to search by. */
export interface DepositRow {
  readonly key: Deposit['key'];
  readonly created_at: Date;
  /** What was recorded before has no binding: version 1. */
  readonly document: Omit<Stored<Deposit>, 'binding'> & Partial<Pick<Deposit, 'binding'>>;
}

/** The columns of a recovery; all but `document` are there to search by. */
export interface RecoveryRow {
  readonly id: string;
  readonly filed_at: Date;
  /** What was recorded before has no version: 3; and no intents. */
  readonly document: Omit<Stored<Recovery>, 'version' | 'intents'> &
    Partial<Pick<Recovery, 'version'> & Pick<Stored<Recovery>, 'intents'>>;
}

export interface GrantRow {
  readonly id: Grant['id'];
  readonly recovery: Grant['recovery'];
  readonly key: Grant['key'];
  readonly spec: Grant['spec'];
  readonly owner: Grant['owner'];
  readonly scope: Stored<Scope>;
  readonly used: number;
  readonly recent: RecentUses;
  readonly starts_at: Date;
  readonly expires_at: Date;
  readonly status: Grant['status'];
  readonly certificate: string | null;
}

/** The JSON text of a record. */
export function toDocument(value: Deposit | Recovery | Grant['scope']): string {
  return JSON.stringify(stored(value));
}

/** What no record has for its digest. */
const NO_DIGEST = '0'.repeat(64);

/** The deposit of the key in whose row it stands. A document of another key is none of it: its digest is that of no record. */
export function toDeposit({
  key,
  document: { bornOutside, checkValue, ...document },
}: Pick<DepositRow, 'key' | 'document'>): Deposit {
  return {
    ...document,
    ...(document.key === key ? {} : { key, digest: NO_DIGEST }),
    ...(bornOutside === true ? { bornOutside } : {}),
    ...(checkValue == null ? {} : { checkValue: bytes(checkValue) }),
    publicKey: document.publicKey === null ? undefined : bytes(document.publicKey),
    createdAt: new Date(document.createdAt),
    binding: document.binding ?? { version: 1 },
    requests: { ...document.requests, denialsToEnd: document.requests.denialsToEnd ?? undefined },
    operate: document.operate === null ? undefined : toOperateTerms(document.operate),
    release: document.release === null ? undefined : toBrakes(document.release),
    purposes: document.purposes.map(toPurpose),
    ownersCopy: document.ownersCopy === null ? undefined : toOwnersCopy(document.ownersCopy),
  };
}

export function toRecovery({ document }: Pick<RecoveryRow, 'document'>): Recovery {
  return {
    ...document,
    version: document.version ?? 3,
    asked: toAsked(document.asked),
    filedAt: new Date(document.filedAt),
    expiresAt: new Date(document.expiresAt),
    transportKey: bytes(document.transportKey),
    intents: (document.intents ?? []).map((intent) => ({
      ...intent,
      at: new Date(intent.at),
      expiresAt: new Date(intent.expiresAt),
    })),
    approvals: document.approvals.map(toApproval),
    denials: document.denials.map((denial) => ({ ...denial, at: new Date(denial.at) })),
    state: toState(document.state),
  };
}

export function toGrant(row: GrantRow): Grant {
  const { starts_at: startsAt, expires_at: expiresAt, scope, certificate, ...same } = row;
  const grant = { ...same, scope: toScope(scope), startsAt, expiresAt };
  return certificate === null ? grant : { ...grant, certificate };
}

/** Everyone who holds a share of the key, for any purpose. */
export function depositariesOf(deposit: Deposit): readonly string[] {
  return [...new Set(deposit.purposes.flatMap(({ shares }) => shares.map(({ depositary }) => depositary)))];
}

/** Everyone whom a recovery names. */
export function participantsOf(recovery: Recovery): readonly string[] {
  const { owner, requester, asked, intents, approvals, denials } = recovery;
  const decided = [...intents, ...approvals, ...denials].map(({ depositary }) => depositary);
  return [...new Set([owner, requester, ...beneficiariesOf(asked), ...decided])];
}

/** Who uses keys, or receives them. */
function beneficiariesOf(asked: Asked): readonly string[] {
  if (asked.purpose === 'reseal') return [];
  return [asked.purpose === 'operate' ? asked.scope.app : asked.recipient];
}

function toOperateTerms(stored: Stored<OperateTerms>): OperateTerms {
  return {
    ...toBrakes(stored),
    rate: stored.rate ?? undefined,
    mechanisms: stored.mechanisms ?? undefined,
  };
}

/** Replies at once are not written down. */
function toBrakes<T extends Stored<Brakes>>({
  replies,
  ...stored
}: T): Omit<T, 'replies'> & Pick<Brakes, 'replies'> {
  return replies == null ? stored : { ...stored, replies };
}

function toAsked(stored: Stored<Asked>): Asked {
  switch (stored.purpose) {
    case 'operate':
      return { ...stored, scope: toScope(stored.scope) };
    case 'release':
      return stored;
    case 'reseal':
      return { ...stored, plan: toPlan(stored.plan) };
  }
}

/** What a plan does not have is not written down. */
function toPlan({ rotations, unrotated, ...plan }: Stored<ResealPlan>): ResealPlan {
  return {
    ...plan,
    ...(rotations == null ? {} : { rotations }),
    ...(unrotated == null ? {} : { unrotated }),
  };
}

function toScope(stored: Stored<Scope>): Scope {
  return {
    ...stored,
    rate: stored.rate ?? undefined,
    notBefore: stored.notBefore === null ? undefined : new Date(stored.notBefore),
    notAfter: stored.notAfter === null ? undefined : new Date(stored.notAfter),
  };
}

function toPurpose(stored: Stored<PurposeDeposit>): PurposeDeposit {
  return {
    ...stored,
    shares: stored.shares.map((each) => ({
      ...each,
      share: unseal('depositary', each.share),
      link: unseal('share-key', each.link),
      serverFor: each.serverFor ?? undefined,
    })),
    quorums: stored.quorums.map((each) => ({ ...each, sealed: unseal('layer-key', each.sealed) })),
  };
}

function toOwnersCopy({ transferKey, key }: Stored<OwnersCopy>): OwnersCopy {
  return { transferKey: unseal('owner', transferKey), key: unseal('transfer-key', key) };
}

function toApproval(stored: Stored<Approval>): Approval {
  return {
    ...stored,
    replies: stored.replies.map(({ key, purpose, reply }) => ({
      key,
      ...(purpose == null ? {} : { purpose }),
      reply: unseal('transport', reply),
    })),
    at: new Date(stored.at),
    expiresAt: new Date(stored.expiresAt),
  };
}

function toState(stored: Stored<RecoveryState>): RecoveryState {
  switch (stored.status) {
    case 'pending':
      return stored;
    case 'approved':
      return {
        ...stored,
        releasableAt: new Date(stored.releasableAt),
        holdsUntil: new Date(stored.holdsUntil),
      };
    case 'released':
      return {
        ...stored,
        at: new Date(stored.at),
        answers: stored.answers?.map(({ key, transferKey, wrappedKey }) => ({
          key,
          transferKey: unseal('depositary', transferKey),
          wrappedKey: unseal('transfer-key', wrappedKey),
        })),
      };
    case 'active':
    case 'resealed':
    case 'denied':
    case 'vetoed':
    case 'cancelled':
    case 'expired':
    case 'failed':
      return { ...stored, at: new Date(stored.at) };
  }
}

/** Ciphertext as it was stored; whom it is for is said by its place in the record, as when it was written. */
function unseal<By extends Opener>(by: By, base64: string): Sealed<By> {
  return sealed(by, bytes(base64));
}

function bytes(base64: string): Uint8Array {
  return new Uint8Array(Buffer.from(base64, 'base64'));
}

function stored(value: unknown): unknown {
  if (value === undefined) return null;
  if (value instanceof Uint8Array) return Buffer.from(value).toString('base64');
  if (value instanceof Date) return value.toISOString();
  if (Array.isArray(value)) return value.map(stored);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, stored(member)]));
}
