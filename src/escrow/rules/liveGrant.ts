import { EscrowError } from '../records/errors.js';
import { type Grant, grantStatusAt } from '../records/grant.js';
import type { Subject } from '../../log/entry/entry.js';

/** What a grant is about, for the log. */
export function subjectOf(grant: Grant): Subject {
  return { grant: grant.id, recovery: grant.recovery, key: grant.key, owner: grant.owner };
}

/** Throws the EscrowError that says how the grant has ended, when it has. */
export function checkLive(grant: Grant, now: Date): void {
  const ended = endOf(grant, now);
  if (ended !== undefined) throw new EscrowError(ended);
}

/** How a grant has ended; undefined while it has not. */
export function endOf(
  grant: Grant,
  now: Date,
): 'grant-revoked' | 'grant-expired' | 'grant-exhausted' | undefined {
  switch (grantStatusAt(grant, now)) {
    case 'active':
      return undefined;
    case 'revoked':
      return 'grant-revoked';
    case 'expired':
      return 'grant-expired';
    case 'exhausted':
      return 'grant-exhausted';
  }
}
