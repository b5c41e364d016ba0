import { type Json, canonicalJson } from '../../log/entry/canonical.js';
import { signedByIdentity } from './attestation.js';
import { askedAsJson, sha256Hex } from '../records/digests.js';
import { EscrowError } from '../records/errors.js';
import type { Grant } from '../records/grant.js';
import type { GrantFacts } from '../logged/logFacts.js';
import type { TokenVerbs } from '../ports/token.js';
import type { IdentityVerifier } from '../ports/signers.js';
import type { KeyGrant } from '../records/recovery.js';
import { GRANT_TYPE } from '../records/statementTypes.js';

/** What the token certifies of the grants of one request: they have their scope and their times in common. */
export interface CertifiedGrants extends Pick<Grant, 'recovery' | 'scope' | 'startsAt' | 'expiresAt'> {
  readonly grants: readonly KeyGrant[];
}

/** The log that a certificate is for, by its origin and its verifier key. */
export interface CertifyingLog {
  readonly origin: string;
  readonly logKey: string;
}

/** A certificate of these grants by the token's identity key: a compact JWS. */
export function certifyGrants(
  lent: Pick<TokenVerbs, 'attest'>,
  log: CertifyingLog,
  of: CertifiedGrants,
  at: Date,
): Promise<string> {
  const iat = Math.floor(at.getTime() / 1000);
  return signedByIdentity(lent, GRANT_TYPE, { ...certifiedAsJson(log, of), iat });
}

/** All that a certificate says but when it was made. */
function certifiedAsJson(
  { origin, logKey }: CertifyingLog,
  { recovery, grants, scope, startsAt, expiresAt }: CertifiedGrants,
): Readonly<Record<string, Json>> {
  return {
    iss: origin,
    aud: logKey,
    recovery,
    grants: Object.fromEntries(grants.map(({ key, grant }) => [key, grant])),
    scope: askedAsJson({ purpose: 'operate', scope }).scope,
    start: startsAt.toISOString(),
    end: expiresAt.toISOString(),
  };
}

/**
 * Checks that the grant has the certificate which the log says it was given, and that the token has certified what the record
 * says. One from before there were certificates has none until it is given one.
 * @throws EscrowError `record-mismatch`
 */
export async function checkCertificate(
  { log, identity }: { readonly log: CertifyingLog; readonly identity: IdentityVerifier },
  grant: Grant,
  { certificate: logged }: Pick<GrantFacts, 'certificate'>,
): Promise<void> {
  const { certificate } = grant;
  if (logged === undefined) return;
  if (certificate === undefined || sha256Hex(certificate) !== logged) throw notCertified();
  const said = await identity.verify(certificate, GRANT_TYPE);
  if (said === undefined || !isOf(log, grant, said)) throw notCertified();
}

function isOf(log: CertifyingLog, grant: Grant, said: Readonly<Record<string, unknown>>): boolean {
  const { iat, ...rest } = said;
  const { grants } = rest;
  if (typeof iat !== 'number' || typeof grants !== 'object' || grants === null) return false;
  // of the others that it is of, this record says nothing
  if ((grants as Readonly<Record<string, unknown>>)[grant.key] !== grant.id) return false;
  const expected = { ...certifiedAsJson(log, { ...grant, grants: [] }), grants };
  try {
    return canonicalJson(rest) === canonicalJson(expected);
  } catch {
    return false; // not even canonical JSON: certainly not what was expected
  }
}

function notCertified(): EscrowError {
  return new EscrowError('record-mismatch', 'The token has not certified what the record says of the grant.');
}
