import { createPublicKey, verify } from 'node:crypto';
import { canonicalJson, type Json } from '../entry/canonical.js';

/*
 * What the token's identity key says in the log's own affairs: compact JWS (RFC 7515 section 7.1), ES256, of one spelling each.
 */

/** The JWS signing input (RFC 7515 section 5.1) of a statement of this `typ`. */
export function identityInput(typ: string, payload: Readonly<Record<string, Json>>): string {
  return [{ alg: 'ES256', typ }, payload]
    .map((part) => Buffer.from(canonicalJson(part)).toString('base64url'))
    .join('.');
}

/** The payload of a compact JWS as it stands there: nobody has checked it. Undefined when it is no JSON object. */
export function unverifiedPayload(jws: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(Buffer.from(jws.split('.')[1] ?? '', 'base64url').toString());
    return typeof value === 'object' && value !== null
      ? (value as Readonly<Record<string, unknown>>)
      : undefined;
  } catch {
    return undefined;
  }
}

/** Whether `jws` is this signing input, and behind it a signature of it by the identity key (DER SubjectPublicKeyInfo, EC P-256). */
export function isSignedByIdentity(jws: string, input: string, identityKey: Uint8Array): boolean {
  if (!jws.startsWith(`${input}.`)) return false;
  const signature = jws.slice(input.length + 1);
  const bytes = Buffer.from(signature, 'base64url');
  if (bytes.toString('base64url') !== signature) return false;
  const key = createPublicKey({ key: Buffer.from(identityKey), format: 'der', type: 'spki' });
  return verify('sha256', Buffer.from(input), { key, dsaEncoding: 'ieee-p1363' }, bytes);
}
