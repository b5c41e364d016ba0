import type { Claim, JournalWrite } from '../../escrow/ports/journal.js';
import { takeUses } from '../../escrow/records/rate.js';
import { uuidArray } from './binaryArrays.js';
import { idempotencyKey, requestKey, type LockedRows, type Statement, type Undo } from './lockedRows.js';

/** Takes what a claim asks for; undefined when it does not hold. */
export function holdClaim(claim: Claim, locked: LockedRows): Undo | undefined {
  switch (claim.claim) {
    case 'request-unused': {
      const key = requestKey(claim.kid, claim.jti);
      if (!locked.unusedRequests.delete(key)) return undefined;
      return () => locked.unusedRequests.add(key);
    }
    case 'alone-on-recovery':
      if (locked.heldRecoveries.has(claim.recovery)) return undefined;
      return locked.recoveries.get(claim.recovery) === claim.revision ? nothing : undefined;
    case 'uses-counted': {
      const { grant: id, uses, at } = claim;
      const grant = locked.grants.get(id);
      if (grant?.status !== 'active' || at < grant.startsAt || at >= grant.expiresAt) return undefined;
      if (grant.used + uses > grant.maxUses) return undefined;
      const { recent: before } = grant;
      const recent = grant.rate === undefined ? before : takeUses(grant.rate, before, uses, at);
      if (recent === undefined) return undefined;
      grant.used += uses;
      grant.recent = recent;
      return () => {
        grant.used -= uses;
        grant.recent = before;
      };
    }
    case 'policy-in-force':
      return claim.version === locked.policyVersion ? nothing : undefined;
    case 'idempotency-key-free': {
      const key = idempotencyKey(claim.principal, claim.key);
      if (!locked.freeKeys.delete(key)) return undefined;
      return () => locked.freeKeys.add(key);
    }
  }
}

/** Writes what the claims of these writes leave behind. The locked rows are as the judge left them. */
export function claimStatements(kept: readonly JournalWrite[], locked: LockedRows): readonly Statement[] {
  const uses = new Map<string, number>();
  for (const claim of kept.flatMap((write) => write.claims)) {
    if (claim.claim === 'uses-counted') uses.set(claim.grant, (uses.get(claim.grant) ?? 0) + claim.uses);
  }
  const unused = [...locked.unusedRequests];
  return [
    ...(uses.size > 0 ? [countUses(uses)] : []),
    ...rememberUses([...uses.keys()], locked),
    ...(unused.length > 0 ? [forgetRequests(unused)] : []),
    ...takeKeys(kept),
    ...freeKeys([...locked.freeKeys].map((key) => JSON.parse(key) as readonly [string, string])),
  ];
}

/** The recovery that a write holds as long as its act is open. */
export function heldRecovery(write: JournalWrite): string | undefined {
  return write.claims.find((claim) => claim.claim === 'alone-on-recovery')?.recovery;
}

/** Whether an Idempotency-Key stands for the act that a write opens. */
export function isKeyed(write: JournalWrite): boolean {
  return write.claims.some((claim) => claim.claim === 'idempotency-key-free');
}

function countUses(uses: ReadonlyMap<string, number>): Statement {
  return {
    name: 'count-uses',
    text: `update grant_ g set used = g.used + u.uses
           from unnest($1::text[], $2::int[]) as u (id, uses) where g.id = u.id`,
    values: [[...uses.keys()], [...uses.values()]],
  };
}

/** What the rates of these grants count from now on; nothing where there is no rate. */
function rememberUses(grants: readonly string[], locked: LockedRows): readonly Statement[] {
  const rated = grants.flatMap((id) => {
    const grant = locked.grants.get(id);
    return grant?.rate === undefined ? [] : [{ id, recent: JSON.stringify(grant.recent) }];
  });
  if (rated.length === 0) return [];
  return [
    {
      name: 'remember-uses',
      text: `update grant_ g set recent = u.recent::jsonb
             from unnest($1::text[], $2::text[]) as u (id, recent) where g.id = u.id`,
      values: [rated.map(({ id }) => id), rated.map(({ recent }) => recent)],
    },
  ];
}

function forgetRequests(digests: readonly string[]): Statement {
  return {
    name: 'forget-requests',
    text: `delete from request_seen where request = any($1::uuid[])`,
    values: [uuidArray(digests.map((digest) => Buffer.from(digest, 'hex')))],
  };
}

/** From now on the keys that these writes claim stand for their acts. */
function takeKeys(kept: readonly JournalWrite[]): readonly Statement[] {
  const taken = kept.flatMap(({ id, claims }) =>
    claims.flatMap((claim) => (claim.claim === 'idempotency-key-free' ? [{ act: id, ...claim }] : [])),
  );
  if (taken.length === 0) return [];
  return [
    {
      name: 'take-keys',
      text: `update idempotency_key k set act = u.act, fingerprint = u.fingerprint, expires_at = u.expires_at
             from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::timestamptz[])
               as u (principal, key, act, fingerprint, expires_at)
             where k.principal = u.principal and k.key = u.key`,
      values: [
        taken.map(({ principal }) => principal),
        taken.map(({ key }) => key),
        taken.map(({ act }) => act),
        taken.map(({ fingerprint }) => fingerprint),
        taken.map(({ expiresAt }) => expiresAt.toISOString()),
      ],
    },
  ];
}

/** Keys that were reserved for writes which did not hold. */
function freeKeys(keys: readonly (readonly [string, string])[]): readonly Statement[] {
  if (keys.length === 0) return [];
  return [
    {
      name: 'free-keys',
      text: `delete from idempotency_key k using unnest($1::text[], $2::text[]) as u (principal, key)
             where k.principal = u.principal and k.key = u.key`,
      values: [keys.map(([principal]) => principal), keys.map(([, key]) => key)],
    },
  ];
}

function nothing(): void {
  // Holding it took nothing from the locked rows.
}
