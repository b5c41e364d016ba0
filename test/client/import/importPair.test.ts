import { createPublicKey, generateKeyPairSync, sign } from 'node:crypto';
import type { KeyObject } from 'node:crypto';

import type { ImportKeyReply } from '../../../src/api/replies.js';
import { believeImportPair } from '../../../src/client/import/importPair.js';
import { NotBelieved } from '../../../src/client/errors.js';
import { sha256Hex } from '../../../src/escrow/records/digests.js';
import {
  ATTESTATION_TYPE,
  GRANT_TYPE,
  HISTORY_TYPE,
  IMPORT_TYPE,
} from '../../../src/escrow/records/statementTypes.js';
import { rsaPair } from '../../support/rsaPairs.js';

const NOW = new Date('2026-03-01T12:00:00.000Z');
const SECONDS = NOW.getTime() / 1000;
const ORIGIN = 'escrow.test/log';
const LOG_KEY = `${ORIGIN}+00000000+AQ`;
const ID = `imp_${'1'.repeat(32)}`;

const identity = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const derOf = (key: KeyObject): Buffer => createPublicKey(key).export({ format: 'der', type: 'spki' });
const DER = derOf(rsaPair(3072).privateKey);
const pins = {
  ...{ origin: ORIGIN, logKey: LOG_KEY, caller: 'ann' },
  identityKey: identity.publicKey.export({ format: 'jwk' }),
} as Parameters<typeof believeImportPair>[1];

const CLAIMS = {
  ...{ iss: ORIGIN, aud: LOG_KEY, iat: SECONDS, exp: SECONDS + 900 },
  ...{ import: ID, for: 'ann', key: sha256Hex(DER), oaep: 'RSA-OAEP' },
};

function attested(
  claims: object,
  { typ = IMPORT_TYPE, by = identity.privateKey }: { readonly typ?: string; readonly by?: KeyObject } = {},
): string {
  const part = (said: object): string => Buffer.from(JSON.stringify(said)).toString('base64url');
  const input = `${part({ alg: 'ES256', typ })}.${part(claims)}`;
  const signature = sign('sha256', Buffer.from(input), { key: by, dsaEncoding: 'ieee-p1363' });
  return `${input}.${signature.toString('base64url')}`;
}

function shown(more: Partial<ImportKeyReply> = {}): ImportKeyReply {
  return {
    import: ID,
    publicKey: DER.toString('base64url'),
    oaep: 'RSA-OAEP',
    expiresAt: new Date(NOW.getTime() + 900_000).toISOString(),
    attestation: attested(CLAIMS),
    ...more,
  };
}

const outcome = (reply: ImportKeyReply): Promise<unknown> =>
  believeImportPair(reply, pins, NOW).then(
    ({ id }) => id,
    (error: unknown) => (error instanceof NotBelieved ? error.code : error),
  );

test('an import key that the token attests to the caller is believed', async () => {
  expect(await outcome(shown())).toBe(ID);
});

const otherKey = derOf(rsaPair(3072).privateKey);
const small = derOf(rsaPair(2048).privateKey);
const claimed = (more: object): ImportKeyReply => shown({ attestation: attested({ ...CLAIMS, ...more }) });
const REFUSED: Readonly<Record<string, readonly [string, ImportKeyReply]>> = {
  'signed by somebody else': [
    'attestation-signature-invalid',
    shown({
      attestation: attested(CLAIMS, {
        by: generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey,
      }),
    }),
  ],
  ...Object.fromEntries(
    [ATTESTATION_TYPE, GRANT_TYPE, HISTORY_TYPE].map((typ) => [
      `of the kind ${typ}`,
      ['attestation-malformed', shown({ attestation: attested(CLAIMS, { typ }) })] as const,
    ]),
  ),
  'that is no statement': ['attestation-malformed', shown({ attestation: 'a.b.c' })],
  'that is too old': ['attestation-expired', claimed({ exp: SECONDS - 1 })],
  'by another server': ['attestation-issuer-mismatch', claimed({ iss: 'other.test/log' })],
  'for another log': ['attestation-issuer-mismatch', claimed({ aud: 'other' })],
  'for somebody else': ['import-key-mismatch', claimed({ for: 'eve' })],
  'of another pair': ['import-key-mismatch', claimed({ import: `imp_${'2'.repeat(32)}` })],
  'for another hash': ['import-key-mismatch', claimed({ oaep: 'RSA-OAEP-256' })],
  'that says more': ['import-key-mismatch', claimed({ also: 1 })],
  'beside another public key': ['import-key-mismatch', shown({ publicKey: otherKey.toString('base64url') })],
  'over a small key': [
    'import-key-mismatch',
    shown({
      publicKey: small.toString('base64url'),
      attestation: attested({ ...CLAIMS, key: sha256Hex(small) }),
    }),
  ],
};

test.each(Object.entries(REFUSED))(
  'nothing is wrapped to an import key with an attestation %s',
  async (_what, [code, reply]) => {
    expect(await outcome(reply)).toBe(code);
  },
);
