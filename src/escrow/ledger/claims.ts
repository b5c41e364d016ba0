import type { Claim, NotHeld } from '../ports/journal.js';
import type { AsOf } from '../logged/logFacts.js';
import { EscrowError } from '../records/errors.js';
import type { Actor } from './act.js';

/** Claims that are lost to another act on the same thing, and are worth another look at it. */
export const CONTENDED: ReadonlySet<NotHeld['what']> = new Set<NotHeld['what']>([
  'alone-on-recovery',
  'uses-counted',
  'policy-in-force',
  'idempotency-key-free',
]);

/** Those of them that are made by what is at hand: it may be another since. */
export const AT_HAND: ReadonlySet<NotHeld['what']> = new Set<NotHeld['what']>([
  'uses-counted',
  'policy-in-force',
]);

/** What every attempt of this actor claims: that their request is new, and that the policy is in force by which they were known. */
export function claimsOf(actor: Actor): readonly Claim[] {
  const { known } = actor;
  return [...freshness(actor), ...(known === undefined ? [] : [known.claim])];
}

/** That a signed request is new. */
export function freshness(actor: Actor): readonly Claim[] {
  if (actor.request === undefined) return [];
  const { kid, jti, expiresAt } = actor.request;
  return [{ claim: 'request-unused', kid, jti, expiresAt }];
}

/** Throws EscrowError unless the log says what was claimed of the database. */
export function checkClaim(claim: Claim, asOf: AsOf): void {
  const { policyVersion, request, isContended, useRefused } = asOf;
  switch (claim.claim) {
    case 'policy-in-force':
      if (claim.version !== policyVersion)
        throw contradicted('There is a newer policy than this act was decided by.');
      return;
    case 'alone-on-recovery':
      if (isContended || (request === undefined) !== (claim.hasEnded === true))
        throw contradicted('The request has ended, or has not, or is being decided.');
      return;
    case 'uses-counted':
      if (useRefused !== undefined) throw new EscrowError(useRefused);
      return;
    case 'request-unused':
      if (asOf.isRepeated) throw new EscrowError('request-replayed');
      return;
    case 'idempotency-key-free':
      if (asOf.isKeyTaken) throw contradicted('The Idempotency-Key stands for another creation.');
      return;
  }
}

/** What the records say is not what the log says. */
export function contradicted(detail: string): EscrowError {
  return new EscrowError('record-mismatch', detail);
}
