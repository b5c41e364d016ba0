import { signedByIdentity } from '../../../src/escrow/rules/attestation.js';
import { sha256Hex } from '../../../src/escrow/records/digests.js';
import type { Grant } from '../../../src/escrow/records/grant.js';
import { certifyGrants, checkCertificate } from '../../../src/escrow/rules/grantCertificate.js';
import type { GrantId, KeyId, PrincipalId, RecoveryId } from '../../../src/escrow/records/ids.js';
import { identityVerifier } from '../../../src/http/caller/statements.js';
import type { Json } from '../../../src/log/entry/canonical.js';
import { softwareCertifier } from '../../support/signer.js';
import { ATTESTATION_TYPE, GRANT_TYPE } from '../../../src/escrow/records/statementTypes.js';

const LOG = { origin: 'escrow.test/log', logKey: 'escrow.test/log+00000000+AQ' };
const AT = new Date('2026-03-01T12:00:00.000Z');
const token = softwareCertifier();

const GRANT: Grant = {
  id: 'grant_1' as GrantId,
  recovery: 'rec_1' as RecoveryId,
  key: 'key_1' as KeyId,
  spec: 'ec-p256',
  owner: 'olga' as PrincipalId,
  scope: {
    app: 'mailer' as PrincipalId,
    operations: ['sign'],
    mechanisms: ['ES256'],
    input: 'message',
    maxUses: 3,
    rate: { uses: 1, perMs: 1000 },
    durationMs: 3_600_000,
    notBefore: undefined,
    notAfter: undefined,
  },
  used: 0,
  recent: [],
  startsAt: AT,
  expiresAt: new Date(AT.getTime() + 3_600_000),
  status: 'active',
};

const SECOND = { key: 'key_2' as KeyId, grant: 'grant_2' as GrantId };

async function certificateOf(grant: Grant, by = token, log = LOG): Promise<string> {
  const grants = [{ key: grant.key, grant: grant.id }, SECOND];
  return certifyGrants({ attest: (input) => by.attest(input) }, log, { ...grant, grants }, AT);
}

/** How a grant with this certificate is taken, when the log has it of this one. */
function check(grant: Grant, certificate: string, logged = certificate): Promise<void> {
  const by = { log: LOG, identity: identityVerifier(token.publicKey) };
  return checkCertificate(by, { ...grant, certificate }, { certificate: sha256Hex(logged) });
}

const refused = { code: 'record-mismatch' };

it('a grant is as it was certified, each of those that one certificate is of', async () => {
  const certificate = await certificateOf(GRANT);
  await check(GRANT, certificate);
  await check({ ...GRANT, id: SECOND.grant, key: SECOND.key }, certificate);
});

const scope = (change: Partial<Grant['scope']>): Partial<Grant> => ({ scope: { ...GRANT.scope, ...change } });
it.each<[string, Partial<Grant>]>([
  ['id', { id: 'grant_3' as GrantId }],
  ['key', { key: 'key_2' as KeyId }],
  ['request', { recovery: 'rec_2' as RecoveryId }],
  ['app', scope({ app: 'printer' as PrincipalId })],
  ['operations', scope({ operations: ['sign', 'decrypt'] })],
  ['mechanisms', scope({ mechanisms: ['ES256', 'ES384'] })],
  ['input', scope({ input: 'digest' })],
  ['uses', scope({ maxUses: 4 })],
  ['rate', scope({ rate: undefined })],
  ['duration', scope({ durationMs: 1 })],
  ['earliest start', scope({ notBefore: AT })],
  ['latest end', scope({ notAfter: AT })],
  ['start', { startsAt: new Date(AT.getTime() - 1) }],
  ['end', { expiresAt: new Date(AT.getTime() + 3_600_001) }],
])('with another %s it is not', async (_what, change) => {
  await expect(check({ ...GRANT, ...change }, await certificateOf(GRANT))).rejects.toMatchObject(refused);
});

it.each<[string, () => Promise<string>]>([
  ['by another key', () => certificateOf(GRANT, softwareCertifier())],
  ['of another log', () => certificateOf(GRANT, token, { ...LOG, origin: 'other' })],
  [
    'for a log with another key',
    () => certificateOf(GRANT, token, { ...LOG, logKey: 'escrow.test/log+00000000+AR' }),
  ],
  ['for a log by its name alone', () => certificateOf(GRANT, token, { ...LOG, logKey: LOG.origin })],
  ['of another kind', async () => restated(await certificateOf(GRANT), ATTESTATION_TYPE, {})],
  ['that says more', async () => restated(await certificateOf(GRANT), GRANT_TYPE, { also: 1 })],
  ['that does not say when', async () => restated(await certificateOf(GRANT), GRANT_TYPE, { iat: 'now' })],
])('a certificate %s is none', async (_what, make) => {
  await expect(check(GRANT, await make())).rejects.toMatchObject(refused);
});

it('a certificate that is said again is one: those above are none for that reason alone', async () => {
  await check(GRANT, await restated(await certificateOf(GRANT), GRANT_TYPE, {}));
});

it('another certificate than the log has is none, nor is a missing one', async () => {
  const [one, other] = [await certificateOf(GRANT), await certificateOf(GRANT)];
  await check(GRANT, one);
  await expect(check(GRANT, one, other)).rejects.toMatchObject(refused);
  const by = { log: LOG, identity: identityVerifier(token.publicKey) };
  await expect(checkCertificate(by, GRANT, { certificate: sha256Hex(one) })).rejects.toMatchObject(refused);
  // one from before there were any
  await checkCertificate(by, GRANT, { certificate: undefined });
});

/** What a certificate says, with some of it changed, signed again by the token's key. */
function restated(certificate: string, typ: string, change: Readonly<Record<string, Json>>): Promise<string> {
  const payload = JSON.parse(Buffer.from(certificate.split('.')[1] ?? '', 'base64url').toString()) as Json;
  return signedByIdentity({ attest: (input) => token.attest(input) }, typ, {
    ...(payload as object),
    ...change,
  });
}
