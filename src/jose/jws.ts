import { isJsonObject, canonicalJson } from '../log/entry/canonical.js';
import { decodeBase64url } from '../log/note/base64.js';
import { type KeyObject, constants, createPublicKey, verify } from 'node:crypto';

import { base64url } from '../escrow/records/digests.js';
import type { SigningKey } from '../escrow/records/principals.js';
import { sha256 } from '../log/tree/merkle.js';

/** A public key in JSON (RFC 7517). */
export type Jwk = Readonly<Record<string, string>>;

/** A compact JWS (RFC 7515 section 7.1) as it is read: nobody has checked its signature. */
export interface ParsedJws {
  readonly header: Readonly<Record<string, unknown>>;
  readonly payload: Readonly<Record<string, unknown>>;
  readonly signingInput: string;
  readonly signature: Uint8Array;
}

/** Reads a compact JWS whose header and payload are JSON objects; undefined when it is none. */
export function parseJws(text: string): ParsedJws | undefined {
  const parts = text.split('.');
  const [protectedHeader, body, signature] = parts;
  if (parts.length !== 3 || protectedHeader === undefined || body === undefined || signature === undefined) {
    return undefined;
  }
  const header = jsonObject(protectedHeader);
  const payload = jsonObject(body);
  const bytes = decodeBase64url(signature);
  if (header === undefined || payload === undefined || bytes === undefined) return undefined;
  return { header, payload, signingInput: `${protectedHeader}.${body}`, signature: bytes };
}

/** Whether a signature is by this key under its one algorithm. Never throws. */
export function jwsHolds(jws: ParsedJws, key: Pick<SigningKey, 'jwk' | 'alg'>): boolean {
  if (jws.header['alg'] !== key.alg || 'crit' in jws.header) return false;
  const publicKey = importJwk(key.jwk);
  if (publicKey === undefined) return false;
  const input = Buffer.from(jws.signingInput);
  switch (key.alg) {
    case 'ES256':
      return verify('sha256', input, { key: publicKey, dsaEncoding: 'ieee-p1363' }, jws.signature);
    case 'ES384':
      return verify('sha384', input, { key: publicKey, dsaEncoding: 'ieee-p1363' }, jws.signature);
    case 'EdDSA':
      return verify(null, input, publicKey, jws.signature);
    case 'PS256':
      return verify(
        'sha256',
        input,
        { key: publicKey, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 },
        jws.signature,
      );
  }
}

/** The members that name a key (RFC 7638 section 3.2, RFC 8037 section 2). */
const THUMBPRINT_MEMBERS = {
  EC: ['crv', 'kty', 'x', 'y'],
  OKP: ['crv', 'kty', 'x'],
  RSA: ['e', 'kty', 'n'],
} as const satisfies Record<string, readonly string[]>;

/** The RFC 7638 thumbprint of a public key: SHA-256, base64url. undefined when its members are not all there. */
export function jwkThumbprint(jwk: Jwk): string | undefined {
  const kty = jwk['kty'];
  if (kty !== 'EC' && kty !== 'OKP' && kty !== 'RSA') return undefined;
  const members = THUMBPRINT_MEMBERS[kty].map((name) => [name, jwk[name]] as const);
  if (members.some(([, value]) => value === undefined)) return undefined;
  // RFC 7638 section 3 asks for the members in lexicographic order and no spaces: what canonical JSON is
  return base64url(sha256(Buffer.from(canonicalJson(Object.fromEntries(members)))));
}

/** A public key of JWK members, or undefined when they are not one. */
export function importJwk(jwk: Jwk): KeyObject | undefined {
  try {
    return createPublicKey({ key: { ...jwk }, format: 'jwk' });
  } catch {
    return undefined;
  }
}

function jsonObject(part: string): Readonly<Record<string, unknown>> | undefined {
  const bytes = decodeBase64url(part);
  if (bytes === undefined) return undefined;
  try {
    const value: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
    return isJsonObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}
