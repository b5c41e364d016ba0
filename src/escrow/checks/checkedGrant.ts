import type { Escrow } from '../escrow.js';
import { EscrowError } from '../records/errors.js';
import type { Grant } from '../records/grant.js';
import type { GrantId } from '../records/ids.js';
import type { GrantFacts, ScopeFacts } from '../logged/logFacts.js';

/**
 * Checks a grant as it was read against what the log says of it: it was made, of the request that asked for it, for this app,
 * key, scope and time, and has not ended; and that the token has certified it so. How much of it was used is decided with the
 * attempt.
 *
 * @throws EscrowError `record-mismatch`
 */
export async function checkGrant(
  { followed, certificates }: Pick<Escrow, 'followed' | 'certificates'>,
  grant: Grant,
): Promise<void> {
  await certificates.check(grant, await checkLoggedGrant({ followed }, grant));
}

/** The same for who ends it: without its certificate, which those from before are still to get. Resolves with what the log says. */
export async function checkLoggedGrant(
  { followed }: Pick<Escrow, 'followed'>,
  grant: Grant,
): Promise<GrantFacts> {
  // another daemon may have made it just now
  if (followed.facts.grant(grant.id) === undefined) await followed.caughtUp();
  const facts = followed.facts.grant(grant.id);
  if (facts !== undefined && isAsLogged(grant, facts)) return facts;
  throw new EscrowError('record-mismatch', 'The log says something else of the grant.');
}

/**
 * Checks that a grant which its record has as ended, or which has none, has ended by the log too: who is told so will do nothing
 * more to stop it.
 *
 * @throws EscrowError `record-mismatch`
 */
export async function checkEnded(
  { followed }: Pick<Escrow, 'followed'>,
  id: GrantId,
  now: Date,
): Promise<void> {
  await followed.caughtUp();
  const facts = followed.facts.grant(id);
  if (facts === undefined || now.getTime() >= facts.expiresAtMs || facts.used >= facts.maxUses) return;
  throw new EscrowError(
    'record-mismatch',
    'By the log this grant stands, and its record says something else.',
  );
}

function isAsLogged(grant: Grant, facts: GrantFacts): boolean {
  const { scope } = grant;
  return (
    grant.recovery === facts.recovery &&
    grant.key === facts.key &&
    grant.owner === facts.owner &&
    (facts.spec === undefined || grant.spec === facts.spec) &&
    scope.maxUses === facts.maxUses &&
    grant.startsAt.getTime() === facts.startsAtMs &&
    grant.expiresAt.getTime() === facts.expiresAtMs &&
    isSame(scope, facts.scope)
  );
}

function isSame(scope: Grant['scope'], facts: ScopeFacts): boolean {
  const { app, operations, mechanisms, input, rate, durationMs, notBefore, notAfter } = scope;
  return (
    app === facts.app &&
    input === facts.input &&
    operations.join(' ') === facts.operations.join(' ') &&
    mechanisms.join(' ') === facts.mechanisms.join(' ') &&
    rate?.uses === facts.rate?.uses &&
    rate?.perMs === facts.rate?.perMs &&
    durationMs === facts.durationMs &&
    notBefore?.getTime() === facts.notBefore?.getTime() &&
    notAfter?.getTime() === facts.notAfter?.getTime()
  );
}
