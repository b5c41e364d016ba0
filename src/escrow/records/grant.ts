import type { GrantId, KeyId, PrincipalId, RecoveryId } from './ids.js';
import type { KeySpec } from './keySpecs.js';
import type { RecentUses } from './rate.js';
import type { Scope } from './scope.js';

/** Where a grant stands in the records. `expired` holds from `expiresAt` on, recorded or not. */
export type GrantStatus = 'active' | 'exhausted' | 'expired' | 'revoked';

/** The right of one app to use one recovered key, which stands as a non-exportable object in the token. */
export interface Grant {
  readonly id: GrantId;
  readonly recovery: RecoveryId;
  readonly key: KeyId;
  readonly spec: KeySpec;
  readonly owner: PrincipalId;
  readonly scope: Scope;
  readonly used: number;
  /** What of it the rate of the scope still counts; empty where there is none. */
  readonly recent: RecentUses;
  /** No use before it: activation, or later where the scope says so. */
  readonly startsAt: Date;
  /** The end of the duration, which is counted from activation, or earlier where the scope says so. */
  readonly expiresAt: Date;
  readonly status: GrantStatus;
  /** By the token's identity key; see rules/grantCertificate.ts. Absent while a grant from before there were any has none. */
  readonly certificate?: string;
}

/** Where a grant stands at this instant: an active one past its end has expired, recorded or not. */
export function grantStatusAt(grant: Grant, now: Date): GrantStatus {
  if (grant.status !== 'active') return grant.status;
  if (grant.used >= grant.scope.maxUses) return 'exhausted';
  return now.getTime() >= grant.expiresAt.getTime() ? 'expired' : 'active';
}
