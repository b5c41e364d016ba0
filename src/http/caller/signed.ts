import { isForLog } from '../../log/note/audience.js';
import { hash } from 'node:crypto';

import { z } from 'zod';

import type { Call, OperateCall } from '../../escrow/escrow.js';
import { callOf } from '../../escrow/escrow.js';
import { EscrowError } from '../../escrow/records/errors.js';
import { KnownCaller } from '../../escrow/ledger/knownCaller.js';
import type { Policy } from '../../escrow/records/policy.js';
import type { Json } from '../../log/entry/canonical.js';
import { fingerprintOf, MAX_KEY_CHARACTERS, readIdempotencyKey } from './idempotencyKey.js';
import type { UnverifiedJws } from './jws.js';
import { isSignedBy, JwsError, readJws } from './jws.js';
import { REQUEST_TYPE } from '../../escrow/records/statementTypes.js';

/** The authentication scheme (RFC 9110 section 11.1). */
export const SCHEME = 'Escrowd-JWS';
/** How long a request may be good for, at most. */
const MAX_LIFETIME_SECONDS = 60;
/** How far a caller's clock may be off, either way; as much longer is remembered which requests were seen. */
const CLOCK_SKEW_SECONDS = 60;

/** A request as it came in. */
export interface Received {
  readonly method: string;
  /** Path and query exactly as received (RFC 9112 section 3.2.1). */
  readonly target: string;
  /** All Authorization fields. */
  readonly authorization: readonly string[];
  /** All Idempotency-Key fields. */
  readonly idempotencyKey: readonly string[];
  readonly body: Uint8Array;
}

/** Whose signature or certificate was found good, whatever came of it: a refusal is recorded as theirs. */
export type Known<C extends OperateCall> =
  | { readonly outcome: 'accepted'; readonly call: C }
  | { readonly outcome: 'refused'; readonly call: C; readonly error: EscrowError };

/** What a request says of its signer. Nothing of it is believed before {@link proveSigner}. */
export interface Claimed {
  /** The thumbprint of the key that it names. */
  readonly kid: string;
  readonly unverified: UnverifiedJws;
  readonly claims: Claims;
}

/** A request whose signature was found good: whose it is is certain. Whether it is for this request, {@link checkRequest} says. */
export interface Proven {
  readonly call: Call;
  readonly claims: Claims;
}

/**
 * Reads the signature of a request, and costs next to nothing.
 * @throws EscrowError `request-unsigned`, `request-malformed`
 */
export function readClaimed(authorization: readonly string[]): Claimed {
  const { unverified, claims } = read(authorization);
  return { kid: unverified.header.kid, unverified, claims };
}

/**
 * Who signed: the key is in this directory, and the signature verifies with that key's one algorithm. The body is not needed for it.
 * @throws EscrowError `caller-unknown`, `request-signature-invalid`
 */
export async function proveSigner({ unverified, claims }: Claimed, policy: Policy): Promise<Proven> {
  return { call: await verify(policy, unverified, claims), claims };
}

/**
 * Whether a signed request is this one: the time is right, and what was signed is this method, this path and query, this
 * body, this Idempotency-Key or none, and this server. Whether it is new (`jti`) is for the log or the store to say, durably.
 *
 * Errors: `request-malformed`, `request-signature-invalid` (a good signature over another request), `request-expired`.
 */
export function checkRequest(
  { call, claims }: Proven,
  received: Received,
  trust: { readonly logKey: string; readonly now: Date },
): Known<Call> {
  try {
    checkTime(claims, trust.now);
    checkBinding(claims, received, call, trust.logKey);
    const key = readIdempotencyKey(received.idempotencyKey);
    if (claims.ik !== key) throw otherwiseSigned('The signature is for another Idempotency-Key.');
    if (key === undefined) return { outcome: 'accepted', call };
    const { known, request } = call;
    const idempotency = { key, fingerprint: fingerprintOf(received) };
    return { outcome: 'accepted', call: callOf(known, { request, idempotency }) };
  } catch (error) {
    if (!(error instanceof EscrowError)) throw error;
    return { outcome: 'refused', call, error };
  }
}

/** Seconds since the epoch (RFC 7519 section 2, NumericDate), whole, and of a year that a Date can hold. */
const instant = z.int().min(0).max(253_402_300_799);
const digest = z.string().regex(/^[A-Za-z0-9_-]{43}$/);

/** What a request's signature says (RFC 7519, names after RFC 9449), closed. */
const claimsSchema = z.strictObject({
  iss: z.string().max(64),
  /** A C2SP verifier key: a name of at most 128 characters, the key id and the public key. */
  aud: z.string().max(512),
  iat: instant,
  exp: instant,
  /** At least 128 bits. */
  jti: z.string().regex(/^[A-Za-z0-9_-]{22,128}$/),
  htm: z.string().max(16),
  htu: z.string().max(4096),
  /** base64url SHA-256 of the body. */
  cd: digest,
  /** The Idempotency-Key, where the request has one. */
  ik: z.string().max(MAX_KEY_CHARACTERS).optional(),
});
type Claims = z.infer<typeof claimsSchema>;

function read(authorization: readonly string[]): {
  readonly unverified: UnverifiedJws;
  readonly claims: Claims;
} {
  const [field, ...more] = authorization;
  if (field === undefined) throw new EscrowError('request-unsigned');
  if (more.length > 0) throw malformed('There is more than one Authorization field.');
  // the scheme is case-insensitive (RFC 9110 section 11.1), and one space follows it
  const [scheme, ...rest] = field.split(' ');
  if (scheme?.toLowerCase() !== SCHEME.toLowerCase()) throw new EscrowError('request-unsigned');
  const unverified = readToken(rest.join(' '));
  const claims = claimsSchema.safeParse(unverified.payload satisfies Record<string, Json>);
  if (!claims.success) throw malformed('The claims of the request signature are not as described.');
  const { iat, exp } = claims.data;
  if (exp <= iat || exp - iat > MAX_LIFETIME_SECONDS)
    throw malformed(`A request signature is good for at most ${MAX_LIFETIME_SECONDS} seconds.`);
  return { unverified, claims: claims.data };
}

function readToken(jws: string): UnverifiedJws {
  try {
    return readJws(jws, REQUEST_TYPE);
  } catch (error) {
    if (!(error instanceof JwsError)) throw error;
    throw new EscrowError('request-malformed', error.message, { cause: error });
  }
}

async function verify(policy: Policy, unverified: UnverifiedJws, claims: Claims): Promise<Call> {
  const { kid } = unverified.header;
  const known = KnownCaller.find(policy, { kid });
  const key = known?.principal.keys.find((candidate) => candidate.thumbprint === kid);
  if (known === undefined || key === undefined) throw new EscrowError('caller-unknown');
  if (!(await isSignedBy(unverified, key))) throw new EscrowError('request-signature-invalid');
  // the jti is to be remembered for as long as this request could be accepted
  const expiresAt = new Date((claims.exp + CLOCK_SKEW_SECONDS) * 1000);
  return callOf(known, { request: { jws: unverified.jws, kid, jti: claims.jti, expiresAt } });
}

function checkTime({ iat, exp }: Claims, now: Date): void {
  const seconds = now.getTime() / 1000;
  if (seconds >= exp + CLOCK_SKEW_SECONDS) throw new EscrowError('request-expired');
  if (seconds < iat - CLOCK_SKEW_SECONDS)
    throw new EscrowError('request-expired', 'The request is dated in the future.');
}

function checkBinding(claims: Claims, received: Received, { caller }: Call, logKey: string): void {
  const refuse = (detail: string): never => {
    throw otherwiseSigned(detail);
  };
  if (claims.iss !== caller.id) refuse('The signing key is not that of the issuer named.');
  if (!isForLog(claims.aud, logKey)) refuse('The signature is for another server.');
  if (claims.htm !== received.method) refuse('The signature is for another method.');
  if (claims.htu !== received.target) refuse('The signature is for another path or query.');
  const body = hash('sha256', received.body, 'base64url');
  if (claims.cd !== body) refuse('The signature is for another body.');
}

function otherwiseSigned(detail: string): EscrowError {
  return new EscrowError('request-signature-invalid', detail);
}

function malformed(detail: string): EscrowError {
  return new EscrowError('request-malformed', detail);
}
