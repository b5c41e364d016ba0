import { createPublicKey } from 'node:crypto';
import { errors, jwtVerify } from 'jose';

import { askedAsJson, requestHash, sha256Hex } from '../../escrow/records/digests.js';
import type { Summarised } from '../../escrow/records/inWords.js';
import { type KeyId, type PrincipalId, parseId, parsePrincipalId } from '../../escrow/records/ids.js';
import type { Asked, DescribedKey, RequestVersion } from '../../escrow/records/recovery.js';
import { CHECK_VALUE_BYTES, KEY_SPEC_NAMES, KEY_USES, OPERATIONS } from '../../escrow/records/keySpecs.js';
import { type Scope, INPUTS } from '../../escrow/records/scope.js';
import { MAX_RECOVERY_KEYS, REQUEST_VERSIONS } from '../../escrow/records/recovery.js';
import type {
  ForDepositaryReply,
  RecoveryKeyReply,
  RecoveryReply,
  ResealReply,
  ScopeReply,
} from '../../api/replies.js';
import { type Json, canonicalJson } from '../../log/entry/canonical.js';
import { parseDuration } from '../../policy/durations.js';
import { type Disbelief, NotBelieved } from '../errors.js';
import { type Jwk, importJwk } from '../../jose/jws.js';
import { ATTESTATION_TYPE } from '../../escrow/records/statementTypes.js';
import { isKnown } from '../../api/reading.js';
import { MECHANISM_NAMES } from '../../escrow/records/mechanisms.js';

/** Smallest modulus of a one-time key, in bits. */
const MINIMUM_TRANSPORT_BITS = 3072;

/**
 * A request whose attestation holds: what is shown is what the token's identity key has signed. `keys` are in ascending
 * order. With version 3 `descriptions` is empty, and the owner is as shown, and as the log entry of the filing says (see
 * `believeRecovery`).
 */
export interface Attested extends Summarised {
  readonly recovery: string;
  /** Whether what the keys are is attested (4), or only shown (3). */
  readonly version: RequestVersion;
  /** Computed here from what is shown. */
  readonly requestHash: string;
  /** SHA-256 (hex) of the one-time key's DER SubjectPublicKeyInfo. */
  readonly transport: string;
}

/** What an attestation is checked against. */
export interface AttestationPins {
  readonly origin: string;
  readonly identityKey: Jwk;
}

/**
 * Checks that the token's identity key attests exactly what is shown: the request by its hash, computed anew, and each
 * part of it again by itself; each key with its public half, and no other; the one-time key; the expiry.
 * @throws NotBelieved
 */
export async function verifyAttestation(
  shown: RecoveryReply,
  part: ForDepositaryReply,
  pins: AttestationPins,
  now: Date,
): Promise<Attested> {
  const claims = await verifiedClaims(part.attestation, pins, now);
  const { keys, owner, requester, asked, approvalsHoldMs } = parsedRequest(shown);
  const version = REQUEST_VERSIONS.find((known) => known === (part.requestVersion ?? 3));
  if (version === undefined) throw newerThanThis(`version ${part.requestVersion} of a request`);
  const descriptions = descriptionsOf(keys, shown);
  const expiresAt = new Date(shown.expiresAt);
  const hash = requestHash({
    version,
    recovery: shown.recovery,
    owner,
    keys: descriptions,
    requester,
    asked,
    reason: shown.reason,
    expiresAt,
    approvalsHoldMs,
  });
  const transportDer = Buffer.from(part.transportKey, 'base64url');
  const transport = sha256Hex(transportDer);
  const { purpose, scope } = askedAsJson(asked);

  expect('attestation-issuer-mismatch', claims['iss'] === pins.origin);
  expect('recovery-mismatch', claims['recovery'] === shown.recovery);
  expect('request-hash-mismatch', claims['requestHash'] === hash && part.requestHash === hash);
  expect('key-mismatch', isSameJson(claims['keys'], publicKeyHashes(shown)));
  expect('purpose-mismatch', claims['purpose'] === purpose);
  expect('scope-mismatch', isSameJson(claims['scope'], scope));
  expect('transport-key-mismatch', claims['transport'] === transport);
  expect('transport-key-weak', isStrongRsa(transportDer));
  // RFC 7519 section 2: a NumericDate has whole seconds here, the request's expiry milliseconds
  expect('expiry-mismatch', Math.abs(Number(claims['exp']) * 1000 - expiresAt.getTime()) < 1000);
  expect('attestation-expired', now < expiresAt);
  return {
    recovery: shown.recovery,
    version,
    keys,
    descriptions: version === 3 ? [] : descriptions,
    owner,
    requester,
    reason: shown.reason,
    asked,
    expiresAt,
    approvalsHoldMs,
    requestHash: hash,
    transport,
  };
}

/** The keys, each with what the server says that it is. */
function descriptionsOf(keys: readonly KeyId[], shown: RecoveryReply): readonly DescribedKey[] {
  return keys.flatMap((key) => {
    const found = shown.keys.find((candidate) => candidate.key === key);
    if (found === undefined) return [];
    const { label, spec, use } = found;
    if (!isKnown(KEY_SPEC_NAMES, spec) || !isKnown(KEY_USES, use))
      throw newerThanThis(`${spec} to ${use}, as which ${key} is shown`);
    return [{ key, label, spec, use }];
  });
}

function newerThanThis(what: string): NotBelieved {
  return new NotBelieved('attestation-malformed', `this client does not know ${what}`);
}

async function verifiedClaims(
  attestation: string,
  pins: AttestationPins,
  now: Date,
): Promise<Readonly<Record<string, unknown>>> {
  const key = importJwk(pins.identityKey);
  if (key === undefined)
    throw new NotBelieved('attestation-signature-invalid', 'the pinned identity key is not a key');
  try {
    const { payload } = await jwtVerify(attestation, key, {
      algorithms: ['ES256'],
      typ: ATTESTATION_TYPE,
      currentDate: now,
      requiredClaims: [
        'iss',
        'iat',
        'exp',
        'recovery',
        'requestHash',
        'keys',
        'purpose',
        'scope',
        'transport',
      ],
    });
    return payload;
  } catch (cause) {
    if (!(cause instanceof errors.JOSEError)) throw cause;
    throw new NotBelieved(disbeliefOf(cause), undefined, { cause });
  }
}

function disbeliefOf(error: InstanceType<typeof errors.JOSEError>): Disbelief {
  if (error instanceof errors.JWTExpired) return 'attestation-expired';
  return error instanceof errors.JWSSignatureVerificationFailed || error instanceof errors.JOSEAlgNotAllowed
    ? 'attestation-signature-invalid'
    : 'attestation-malformed';
}

function parsedRequest(shown: RecoveryReply): {
  readonly keys: readonly KeyId[];
  readonly owner: PrincipalId;
  readonly requester: PrincipalId;
  readonly asked: Asked;
  readonly approvalsHoldMs: number;
} {
  const keys = parsedKeys(shown);
  const owner = parsePrincipalId(shown.owner);
  const requester = parsePrincipalId(shown.requester);
  const asked = parsedAsked(shown);
  const approvalsHoldMs = parseDuration(shown.approvalsHold);
  if (
    keys === undefined ||
    owner === undefined ||
    requester === undefined ||
    asked === undefined ||
    approvalsHoldMs === undefined
  ) {
    throw new NotBelieved(
      'attestation-malformed',
      'the request shown is not a request: an id or a scope is none',
    );
  }
  return { keys, owner, requester, asked, approvalsHoldMs };
}

/** The keys that are shown, when there are some, not too many, each once and in ascending order. */
function parsedKeys(shown: RecoveryReply): readonly KeyId[] | undefined {
  const keys = shown.keys.flatMap(({ key }) => parseId('KeyId', key) ?? []);
  const isSet = keys.every((key, at) => at === 0 || (keys[at - 1] ?? key) < key);
  const isWhole = keys.length === shown.keys.length && keys.length > 0 && keys.length <= MAX_RECOVERY_KEYS;
  return isSet && isWhole ? keys : undefined;
}

/** What is asked for, of what a server shows; undefined when it is not of the form. */
export function parsedAsked(
  shown: Pick<RecoveryReply, 'purpose' | 'scope' | 'recipient' | 'reseal'>,
): Asked | undefined {
  switch (shown.purpose) {
    case 'operate': {
      const scope = shown.scope && parsedScope(shown.scope);
      return scope && { purpose: 'operate', scope };
    }
    case 'release': {
      const recipient = parsePrincipalId(shown.recipient ?? '');
      return recipient === undefined ? undefined : { purpose: 'release', recipient };
    }
    case 'reseal':
      return shown.reseal && parsedReseal(shown.reseal);
    default:
      return undefined;
  }
}

/** What keys are to be sealed anew by, of what a server shows; undefined when it is not of the form. */
function parsedReseal(shown: ResealReply): Asked | undefined {
  const { policyVersion: version, policyHash: hash, rule, keks, rotations, unrotated } = shown;
  const job = parseId('JobId', shown.job);
  const quorums = shown.quorums.map((members) => members.flatMap((id) => parsePrincipalId(id) ?? []));
  const recipients = shown.recipients.flatMap(({ depositary: id, fingerprint }) => {
    const depositary = parsePrincipalId(id);
    return depositary === undefined ? [] : [{ depositary, fingerprint }];
  });
  const from = shown.from.flatMap(({ key, generation }) => {
    const id = parseId('KeyId', key);
    return id === undefined ? [] : [[id, generation] as const];
  });
  const isWhole =
    quorums.every((members, at) => members.length === shown.quorums[at]?.length) &&
    recipients.length === shown.recipients.length &&
    from.length === shown.from.length;
  if (job === undefined || !isWhole) return undefined;
  const plan = {
    ...{ rule, quorums, recipients, keks, from: Object.fromEntries(from) },
    ...(rotations === undefined ? {} : { rotations }),
    ...(unrotated === undefined ? {} : { unrotated }),
  };
  return { purpose: 'reseal', job, policy: { version, hash }, plan };
}

/** A scope, of what a server shows; undefined when it is not of the form. */
export function parsedScope(shown: ScopeReply): Scope | undefined {
  const { operations, mechanisms, input, maxUses } = shown;
  const isUnknown =
    !operations.every((use) => isKnown(OPERATIONS, use)) ||
    !mechanisms.every((name) => isKnown(MECHANISM_NAMES, name)) ||
    !isKnown(INPUTS, input);
  if (isUnknown) return undefined;
  const app = parsePrincipalId(shown.app);
  const durationMs = parseDuration(shown.duration);
  const perMs = parseDuration(shown.rate?.per ?? 'PT0S');
  const notBefore = shown.notBefore === undefined ? undefined : new Date(shown.notBefore);
  const notAfter = shown.notAfter === undefined ? undefined : new Date(shown.notAfter);
  const isWrong = [notBefore, notAfter].some((at) => at !== undefined && Number.isNaN(at.getTime()));
  if (app === undefined || durationMs === undefined || perMs === undefined || isWrong) return undefined;
  const rate = shown.rate === undefined ? undefined : { uses: shown.rate.uses, perMs };
  return { app, operations, mechanisms, input, maxUses, rate, durationMs, notBefore, notAfter };
}

/** Each key that is shown with the hash of its public half. */
function publicKeyHashes({ keys }: RecoveryReply): Json {
  return Object.fromEntries(keys.map((key) => [key.key, publicKeyHash(key)]));
}

/** SHA-256 (hex) of the public key shown, in DER, or of the check value of a secret; null for a key that has neither. */
export function publicKeyHash(key: RecoveryKeyReply): string | null {
  const known = publicKeyOf(key) ?? checkValueOf(key);
  return known === undefined ? null : sha256Hex(known);
}

/** What is shown of a secret to say which it is. @throws NotBelieved `key-mismatch` where a secret has none, or a key has one */
export function checkValueOf({
  spec,
  checkValue,
}: Pick<RecoveryKeyReply, 'spec' | 'checkValue'>): Buffer | undefined {
  const isSecret = spec === 'secret';
  if (isSecret !== (checkValue !== undefined)) throw new NotBelieved('key-mismatch');
  if (checkValue === undefined) return undefined;
  const bytes = Buffer.from(checkValue, 'base64url');
  if (bytes.length !== CHECK_VALUE_BYTES) throw new NotBelieved('key-mismatch');
  return bytes;
}

/**
 * DER SubjectPublicKeyInfo of the public key shown; undefined for a key that has none.
 * @throws NotBelieved `key-mismatch` when it is not a public key
 */
export function publicKeyOf({ publicKeyPem }: Pick<RecoveryKeyReply, 'publicKeyPem'>): Buffer | undefined {
  if (publicKeyPem === undefined) return undefined;
  try {
    return createPublicKey(publicKeyPem).export({ format: 'der', type: 'spki' });
  } catch (cause) {
    throw new NotBelieved('key-mismatch', 'the public key shown is not a public key', { cause });
  }
}

function isStrongRsa(der: Buffer): boolean {
  try {
    const key = createPublicKey({ key: der, format: 'der', type: 'spki' });
    const bits = key.asymmetricKeyDetails?.modulusLength ?? 0;
    return key.asymmetricKeyType === 'rsa' && bits >= MINIMUM_TRANSPORT_BITS;
  } catch {
    return false;
  }
}

function isSameJson(a: unknown, b: unknown): boolean {
  try {
    return canonicalJson(a) === canonicalJson(b);
  } catch {
    return false;
  }
}

function expect(code: Disbelief, holds: boolean): void {
  if (!holds) throw new NotBelieved(code);
}
