import { hash } from 'node:crypto';
import type { QueryResultRow } from 'pg';
import type { GrantStatus } from '../../escrow/records/grant.js';
import type { Claim, JournalWrite } from '../../escrow/ports/journal.js';
import type { Rate, RecentUses } from '../../escrow/records/rate.js';
import { instantArray, uuidArray } from './binaryArrays.js';

/** What counts of a grant. */
export interface LockedGrant {
  status: GrantStatus;
  used: number;
  readonly maxUses: number;
  readonly rate: Rate | undefined;
  recent: RecentUses;
  readonly startsAt: Date;
  readonly expiresAt: Date;
  /** Whether it has a certificate. */
  isCertified?: boolean;
}

/**
 * What the writes of a batch stand on: the records that their claims and changes are about, as they are in a
 * transaction that holds them locked until it ends. The judge keeps it up to date with the writes that it lets
 * through, so that each is judged as if those before it were written.
 */
export interface LockedRows {
  /** Requests (see {@link requestKey}) that this transaction is the first to note and no write has used yet. */
  readonly unusedRequests: Set<string>;
  /** Keys (see {@link idempotencyKey}) that this transaction has reserved and no write has taken yet. */
  readonly freeKeys: Set<string>;
  readonly grants: Map<string, LockedGrant>;
  /** Revisions by recovery. */
  readonly recoveries: Map<string, number>;
  /** Digests by key. */
  readonly deposits: Map<string, string>;
  /** The recovery, if any, that each open act holds. */
  readonly openActs: Map<string, string | undefined>;
  /** Acts that an Idempotency-Key stands for. */
  readonly keyedActs: Set<string>;
  readonly heldRecoveries: Set<string>;
  policyVersion: number;
  /** Whether this daemon and the database have the same time; true when no write asks for that. */
  clocksAgree: boolean;
}

/** Nothing is known yet. */
export function noLockedRows(): LockedRows {
  return {
    unusedRequests: new Set(),
    freeKeys: new Set(),
    grants: new Map(),
    recoveries: new Map(),
    deposits: new Map(),
    openActs: new Map(),
    keyedActs: new Set(),
    heldRecoveries: new Set(),
    policyVersion: 0,
    clocksAgree: true,
  };
}

/** One name for a request's two: its {@link requestDigest} in hexadecimal. */
export function requestKey(kid: string, jti: string): string {
  return requestDigest(kid, jti).toString('hex');
}

/**
 * One name for a request's two, of 16 bytes: kids are thumbprints, so that there is no dot in them. Two requests with one
 * name are two that the holder of one key has looked for; one of them is then refused.
 */
export function requestDigest(kid: string, jti: string): Buffer {
  return hash('sha256', `${kid}.${jti}`, 'buffer').subarray(0, 16);
}

/** One name for a key of a principal's. */
export function idempotencyKey(principal: string, key: string): string {
  return JSON.stringify([principal, key]);
}

/** A statement that is sent by its name once the server has parsed it. */
export interface Statement {
  readonly name: string;
  readonly text: string;
  readonly values: readonly unknown[];
}

/** Sends a statement behind those sent before, without waiting for them. */
export type Send = <Row extends QueryResultRow>(statement: Statement) => Promise<readonly Row[]>;

/** Sends what locks and reads a part of the rows, and puts the answer there. What it sends is settled before. */
export type LockAndRead = (send: Send, locked: LockedRows) => Promise<void>;

/** Gives back what a write has taken from the locked rows. */
export type Undo = () => void;

/**
 * What has to be locked and read for these writes, and no more. Every daemon sends these in this order, each locks
 * its rows in the order of their ids, and the head of the log is locked after all of them: of two transactions, one
 * always gets on, so that there are no deadlocks among them.
 */
export function readsFor(writes: readonly JournalWrite[]): readonly LockAndRead[] {
  const claims = writes.flatMap((write) => write.claims);
  const changes = writes.flatMap((write) => write.changes);

  const requests = claims.filter((claim) => claim.claim === 'request-unused');
  const keys = claims.filter((claim) => claim.claim === 'idempotency-key-free');
  const grants = [
    ...claims.flatMap((claim) => (claim.claim === 'uses-counted' ? [claim.grant] : [])),
    ...changes.flatMap((change) => {
      if (change.change === 'grant-created') return [change.grant.id];
      const isOnGrant = change.change === 'grant-ended' || change.change === 'grant-certified';
      return isOnGrant ? [change.grant] : [];
    }),
  ];
  const deposits = changes.flatMap((each) =>
    each.change === 'deposit-created' || each.change === 'deposit-replaced' ? [each.deposit.key] : [],
  );
  const closing = writes.flatMap((write) => (write.role === 'closes' ? [write.id] : []));
  const wanted = claims.flatMap((claim) => (claim.claim === 'alone-on-recovery' ? [claim.recovery] : []));
  const saved = changes.flatMap((each) => (each.change === 'recovery-saved' ? [each.recovery.id] : []));
  const recoveries = [...saved, ...wanted];
  const applies = changes.some((change) => change.change === 'policy-applied');
  const leans = claims.some((claim) => claim.claim === 'policy-in-force');

  return [
    ...when(requests.length > 0, () => noteRequests(requests)),
    ...when(keys.length > 0, () => reserveKeys(keys)),
    ...when(grants.length > 0, () => lockGrants(grants)),
    ...when(recoveries.length > 0, () => lockRecoveries(recoveries)),
    ...when(deposits.length > 0, () => lockDeposits(deposits)),
    ...when(closing.length + wanted.length > 0, () => lockOpenActs(closing, wanted)),
    ...when(applies || leans, () => lockPolicy(applies ? 'update' : 'share')),
  ];
}

/** Notes them all, in one order; those that no write uses in the end are taken out again before the commit. */
function noteRequests(
  requests: readonly { readonly kid: string; readonly jti: string; readonly expiresAt: Date }[],
): LockAndRead {
  const expiries = new Map<string, Date>();
  for (const { kid, jti, expiresAt } of requests) {
    const digest = requestKey(kid, jti);
    const before = expiries.get(digest);
    if (before === undefined || before < expiresAt) expiries.set(digest, expiresAt);
  }
  const noted = [...expiries].sort(([a], [b]) => (a < b ? -1 : 1));
  const statement = {
    name: 'note-requests',
    text: `insert into request_seen (request, expires_at)
           select request, expires_at from unnest($1::uuid[], $2::timestamptz[]) as u (request, expires_at)
           on conflict do nothing returning replace(request::text, '-', '') as digest`,
    values: [
      uuidArray(noted.map(([digest]) => Buffer.from(digest, 'hex'))),
      instantArray(noted.map(([, expiresAt]) => expiresAt)),
    ],
  };
  return survey(
    (send) => send<{ digest: string }>(statement),
    ({ digest }, locked) => {
      locked.unusedRequests.add(digest);
    },
  );
}

/**
 * Reserves those that are free, in one order: the claim says when. Whether an act has ended otherwise than `done` stands in
 * its outcome's entry. Reserved keys that no write takes in the end are freed again before the commit.
 */
function reserveKeys(claims: readonly Extract<Claim, { claim: 'idempotency-key-free' }>[]): LockAndRead {
  const byKey = new Map(claims.map((claim) => [idempotencyKey(claim.principal, claim.key), claim]));
  const wanted = [...byKey].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, claim]) => claim);
  const statement = {
    name: 'reserve-keys',
    text: `insert into idempotency_key as k (principal, key, fingerprint, act, claimed_at, expires_at)
           select principal, key, fingerprint, '', at, expires_at
           from unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[], $5::timestamptz[])
             as u (principal, key, fingerprint, at, expires_at)
           on conflict (principal, key) do update
             set fingerprint = excluded.fingerprint, act = '', claimed_at = excluded.claimed_at, expires_at = excluded.expires_at
             where k.expires_at <= excluded.claimed_at or exists (
               select from idempotency_outcome o join log_entry e using (seq)
               where o.act = k.act and convert_from(e.entry, 'UTF8')::json ->> 'phase' <> 'done')
           returning principal, key`,
    values: [
      wanted.map(({ principal }) => principal),
      wanted.map(({ key }) => key),
      wanted.map(({ fingerprint }) => fingerprint),
      wanted.map(({ at }) => at.toISOString()),
      wanted.map(({ expiresAt }) => expiresAt.toISOString()),
    ],
  };
  return survey(
    (send) => send<{ principal: string; key: string }>(statement),
    ({ principal, key }, locked) => {
      locked.freeKeys.add(idempotencyKey(principal, key));
    },
  );
}

interface GrantLockRow {
  readonly id: string;
  readonly status: GrantStatus;
  readonly used: number;
  readonly max_uses: number;
  readonly rate: Rate | null;
  readonly recent: RecentUses;
  readonly starts_at: Date;
  readonly expires_at: Date;
  readonly certified: boolean;
}

function lockGrants(ids: readonly string[]): LockAndRead {
  const statement = {
    name: 'lock-grants',
    text: `select id, status, used, max_uses, scope -> 'rate' as rate, recent, starts_at, expires_at,
             certificate is not null as certified from grant_
           where id = any($1::text[]) order by id for no key update`,
    values: [distinct(ids)],
  };
  return survey(
    (send) => send<GrantLockRow>(statement),
    ({ id, max_uses: maxUses, rate, starts_at, expires_at, certified, ...same }, locked) => {
      const times = { startsAt: starts_at, expiresAt: expires_at };
      locked.grants.set(id, { ...same, maxUses, rate: rate ?? undefined, ...times, isCertified: certified });
    },
  );
}

function lockRecoveries(ids: readonly string[]): LockAndRead {
  const statement = {
    name: 'lock-recoveries',
    text: `select id, revision from recovery where id = any($1::text[]) order by id for no key update`,
    values: [distinct(ids)],
  };
  return survey(
    (send) => send<{ id: string; revision: number }>(statement),
    ({ id, revision }, locked) => {
      locked.recoveries.set(id, revision);
    },
  );
}

function lockDeposits(keys: readonly string[]): LockAndRead {
  const statement = {
    name: 'lock-deposits',
    text: `select key, document ->> 'digest' as digest from deposit
           where key = any($1::text[]) order by key for no key update`,
    values: [distinct(keys)],
  };
  return survey(
    (send) => send<{ key: string; digest: string | null }>(statement),
    ({ key, digest }, locked) => {
      locked.deposits.set(key, digest ?? '');
    },
  );
}

function lockOpenActs(ids: readonly string[], recoveries: readonly string[]): LockAndRead {
  const statement = {
    name: 'lock-open-acts',
    text: `select id, holds_recovery, keyed from open_act
           where id = any($1::text[]) or holds_recovery = any($2::text[]) order by id for update`,
    values: [distinct(ids), distinct(recoveries)],
  };
  return survey(
    (send) => send<{ id: string; holds_recovery: string | null; keyed: boolean }>(statement),
    ({ id, holds_recovery, keyed }, locked) => {
      locked.openActs.set(id, holds_recovery ?? undefined);
      if (keyed) locked.keyedActs.add(id);
      if (holds_recovery !== null) locked.heldRecoveries.add(holds_recovery);
    },
  );
}

function lockPolicy(strength: 'share' | 'update'): LockAndRead {
  const statement = {
    name: `lock-policy-for-${strength}`,
    text: `select version from policy_head where id = 1 for ${strength}`,
    values: [],
  };
  return survey(
    (send) => send<{ version: number }>(statement),
    ({ version }, locked) => {
      locked.policyVersion = version;
    },
  );
}

function survey<Row extends QueryResultRow>(
  read: (send: Send) => Promise<readonly Row[]>,
  take: (row: Row, locked: LockedRows) => void,
): LockAndRead {
  return async (send, locked) => {
    for (const row of await read(send)) take(row, locked);
  };
}

function when<T>(needed: boolean, make: () => T): readonly T[] {
  return needed ? [make()] : [];
}

function distinct(ids: readonly string[]): readonly string[] {
  return [...new Set(ids)];
}
