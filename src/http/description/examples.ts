import { type Json, isJsonObject } from '../../log/entry/canonical.js';

type JsonObject = Readonly<Record<string, Json>>;

const KEY = 'key_0190f3a4c5d67e8f90a1b2c3d4e5f607';
const RECOVERY = 'rec_0190f3a4c5d67e8f90a1b2c3d4e5f608';
const GRANT = 'grant_0190f3a4c5d67e8f90a1b2c3d4e5f609';
const IMPORT = 'imp_0190f3a4c5d67e8f90a1b2c3d4e5f60b';
const NOTICE = 'ntc_0190f3a4c5d67e8f90a1b2c3d4e5f60a';
const HASH = '9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08';
/** The SHA-256 of a text, as base64url. */
const DIGEST = 'n4bQgYhMfWWaL-qgxVrQFaO_TxsrC4Is0V1sFbDwCgg';
const BYTES = 'aGVsbG8';
/** Of P-256. */
const SPKI =
  'MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEeBZuVKYJgcZ8jyFXCmqDUOQzvFTHh0mhSKHUUIVW8UZPTVvwLI0pPbNvWXyVW6KbVxyDyJZyxQGyfH5wKJ-2Ag';
const JWS = 'eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJkYW5hIn0.c2lnbmF0dXJl';
const NOTE =
  'log.example.com\n7\nn4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg=\n\n— log.example.com c2lnbmF0dXJl\n';
const INSTANT = '2026-01-31T12:00:00.000Z';

/** What stands under a name, and, where that is not enough, under a name within another. */
const BY_NAME: JsonObject = {
  app: 'mailer',
  approvedBy: 'dana',
  attestation: JWS,
  at: INSTANT,
  because: 'no rule for this use',
  checkpoint: NOTE,
  ciphertext: BYTES,
  createdAt: INSTANT,
  delay: 'PT4H',
  depositary: 'dana',
  digest: HASH,
  document: { version: 1 },
  mechanism: 'ES256',
  mechanisms: 'ES256',
  'decrypt.mechanism': 'RSA-OAEP-256',
  spec: 'ec-p256',
  drilled: 'dana',
  'drills.share': HASH,
  'drills.link': HASH,
  duration: 'P30D',
  entry: '{"act":"key.generate"}',
  expiresAt: INSTANT,
  fault: 'It answered 404.',
  filedAt: INSTANT,
  fingerprint: HASH,
  givenUpAt: INSTANT,
  grant: GRANT,
  hash: HASH,
  import: IMPORT,
  identityKey: { kty: 'EC', crv: 'P-256', x: DIGEST, y: DIGEST },
  id: 'dana',
  key: KEY,
  keys: KEY,
  'candidates.keys': DIGEST,
  label: 'mail',
  live: 'dana',
  logKey: 'log.example.com+9f86d081+AZ-G0IGITH1lmi_qoMVa0BWjv08bKwuCLNFdbBWw8AoI',
  maxValidFor: 'P7D',
  approvalsHold: 'P1D',
  messages: BYTES,
  missing: 'nobody is in the group legal',
  name: 'mail keys',
  notices: NOTICE,
  notice: NOTICE,
  origin: 'log.example.com',
  owner: 'olga',
  per: 'PT1H',
  plaintexts: BYTES,
  policyHash: HASH,
  problems: 'has no depositary key',
  profile: 'softhsm-2.6',
  proof: DIGEST,
  preimage: DIGEST,
  publicKey: BYTES,
  'importKey.publicKey': SPKI,
  checkValue: 'n4bQgYhMfWWaL-qgxVrQFaO_TxsrC4Is0V1sFbDwCgg',
  'getConsistency.proof': 'n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg=',
  quorums: 'dana',
  reason: 'olga is ill',
  recovery: RECOVERY,
  replaces: HASH,
  reply: BYTES,
  requester: 'dana',
  role: 'depositary',
  rule: 'mail keys',
  signatures: DIGEST,
  'applyPolicy.signatures': JWS,
  signers: 'ann',
  singlePoints: 'dana',
  sink: 'webhook:siem',
  startsAt: INSTANT,
  statement: JWS,
  statements: JWS,
  summary: 'dana asks to use the key of olga.',
  text: HASH,
  to: 'olga',
  transferKey: BYTES,
  validFor: 'P1D',
  warnings: 'no quorum of "mail keys" is complete',
  wrapped: 'aGVs'.repeat(136),
  // 520 bytes: the shortest frame of a secret
  'importSecret.wrapped': `${'aGVs'.repeat(173)}aA`,
  wrappedKey: BYTES,
};

/**
 * An example of what has this schema (JSON Schema, draft 2020-12): of an object the members that are always there, of a list one
 * item, of a choice between forms the first. Undefined where only a schema with bytes is left.
 *
 * @param within the operation and the members that lead there
 * @param resolve finds what a `$ref` refers to
 */
export function exampleOf(
  schema: JsonObject,
  within: readonly string[],
  resolve: (reference: string) => JsonObject,
): Json | undefined {
  const { $ref, type, properties, required, items, format } = schema;
  if (typeof $ref === 'string') return exampleOf(resolve($ref), within, resolve);
  const choices = schema['oneOf'] ?? schema['anyOf'];
  const [first] = Array.isArray(choices) ? (choices as readonly Json[]) : [];
  if (isJsonObject(first)) return exampleOf(first, within, resolve);
  if (type === 'array') return isJsonObject(items) ? listOf(exampleOf(items, within, resolve)) : [];
  if (isJsonObject(properties)) {
    const names = Array.isArray(required) ? (required as readonly string[]) : [];
    return Object.fromEntries(
      names.flatMap((name) => {
        const member = properties[name];
        const example = isJsonObject(member) ? exampleOf(member, [...within, name], resolve) : undefined;
        return example === undefined ? [] : [[name, example]];
      }),
    );
  }
  if (format === 'binary') return undefined;
  return leafOf(schema, within);
}

function listOf(item: Json | undefined): Json {
  return item === undefined ? [] : [item];
}

function leafOf(schema: JsonObject, within: readonly string[]): Json {
  const choices = Array.isArray(schema['enum']) ? (schema['enum'] as readonly Json[]) : [];
  const named = BY_NAME[within.slice(-2).join('.')] ?? BY_NAME[within.at(-1) ?? ''];
  const { type } = schema;
  if (type === 'boolean') return true;
  if (type === 'integer') return schema['const'] ?? Math.max(Number(schema['minimum'] ?? 0), 1);
  if (type === 'object') return isJsonObject(named) ? named : {};
  if (choices.length > 0) return named !== undefined && choices.includes(named) ? named : (choices[0] ?? '');
  return schema['const'] ?? (typeof named === 'string' ? named : '');
}
