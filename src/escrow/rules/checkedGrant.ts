import { sha256Hex } from '../records/digests.js';
import { EscrowError } from '../records/errors.js';
import type { Grant } from '../records/grant.js';
import type { GrantId } from '../records/ids.js';
import type { FollowedLog, GrantFacts, ScopeFacts } from '../logged/logFacts.js';
import type { IdentityVerifier } from '../ports/signers.js';
import type { CertifyingLog } from './grantCertificate.js';
import { checkCertificate } from './grantCertificate.js';

/** Whether both are of the same request, with the same certificate: another scope is another object. */
function isOfSame(one: GrantFacts, other: GrantFacts): boolean {
  return one.scope === other.scope && one.certificate === other.certificate;
}

/** The log, as it was followed. */
interface Followed {
  readonly followed: FollowedLog;
}

/** So many grants are at hand; then the one that was checked first is read anew. */
const AT_HAND = 20_000;

/** A grant whose record was found to be what the log and its certificate say, and the facts that were. */
interface Checked {
  readonly grant: Grant;
  readonly facts: GrantFacts;
}

/**
 * Grants that were read and checked once, at hand for their next use: what they are does not change until they end, and that,
 * and how much of them was used, the log says.
 */
export class CheckedGrants {
  readonly #by: Parameters<typeof checkCertificate>[0];
  readonly #checked = new Map<GrantId, Checked>();

  constructor(log: CertifyingLog, identity: IdentityVerifier) {
    this.#by = { log, identity };
  }

  /**
   * A grant that runs, as the log was followed, with no fewer uses left than it has and nothing newer known of its pace;
   * undefined when it is to be read. Asks nobody: whether that holds still, a claim says.
   */
  atHand({ followed: { facts } }: Followed, id: GrantId): Grant | undefined {
    const checked = this.#checked.get(id);
    const logged = facts.grant(id);
    if (logged === undefined) this.#checked.delete(id);
    if (checked === undefined || logged === undefined || !isOfSame(checked.facts, logged)) return undefined;
    return { ...checked.grant, used: logged.used };
  }

  /**
   * Checks a grant as it was read against what the log says of it: it was made, of the request that asked for it, for this app,
   * key, scope and time, and has not ended; and that the token has certified it so. How much of it was used is decided with the
   * attempt.
   *
   * @throws EscrowError `record-mismatch`
   */
  async check(escrow: Followed, grant: Grant): Promise<void> {
    const { id, certificate, ...rest } = grant;
    const before = this.#checked.get(id);
    try {
      const facts = await checkLoggedGrant(escrow, grant);
      const isVerified =
        before !== undefined &&
        isOfSame(before.facts, facts) &&
        (facts.certificate === undefined || sha256Hex(certificate ?? '') === facts.certificate);
      if (!isVerified) await checkCertificate(this.#by, grant, facts);
      const [oldest] = this.#checked.keys();
      if (before === undefined && oldest !== undefined && this.#checked.size >= AT_HAND)
        this.#checked.delete(oldest);
      // the facts have the hash of the certificate
      this.#checked.set(id, { grant: { id, ...rest }, facts });
    } catch (error) {
      this.#checked.delete(id);
      throw error;
    }
  }
}

/**
 * {@link CheckedGrants.check} without the certificate, for who ends a grant: those from before are still to get one. Resolves with
 * what the log says.
 * @throws EscrowError `record-mismatch`
 */
export async function checkLoggedGrant({ followed }: Followed, grant: Grant): Promise<GrantFacts> {
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
export async function checkEnded({ followed }: Followed, id: GrantId, now: Date): Promise<void> {
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
