import type { KeyObject } from 'node:crypto';
import { constants, createHash, generateKeyPairSync, sign } from 'node:crypto';

import type { SigningKey } from '../../src/escrow/records/principals.js';
import { canonicalJson } from '../../src/log/entry/canonical.js';
import { rsaPair } from '../support/rsaPairs.js';
import { freshBytes } from '../support/fresh.js';

type Alg = SigningKey['alg'];
export const ORIGIN = 'escrow.example.com/log';
export const LOG_KEY = `${ORIGIN}+00000000+AQ`;
export const NOW = new Date('2026-03-01T12:00:00.000Z');
const NOW_SECONDS = NOW.getTime() / 1000;

/** Somebody with a key of their own. */
export interface Identity {
  readonly id: string;
  readonly alg: Alg;
  readonly jwk: Readonly<Record<string, string>>;
  readonly kid: string;
  readonly privateKey: KeyObject;
}

/** A new person with a new key. */
export function newIdentity(id: string, alg: Alg = 'ES256'): Identity {
  const { publicKey, privateKey } = newKeyPair(alg);
  const jwk = publicKey.export({ format: 'jwk' }) as Record<string, string>;
  const kid = createHash('sha256').update(canonicalJson(jwk)).digest('base64url');
  return { id, alg, jwk, kid, privateKey };
}

function newKeyPair(alg: Alg): { readonly publicKey: KeyObject; readonly privateKey: KeyObject } {
  switch (alg) {
    case 'ES256':
      return generateKeyPairSync('ec', { namedCurve: 'P-256' });
    case 'ES384':
      return generateKeyPairSync('ec', { namedCurve: 'P-384' });
    case 'EdDSA':
      return generateKeyPairSync('ed25519');
    case 'PS256':
      return rsaPair(2048);
  }
}

/** The signature of `alg` over these bytes, by node's own crypto: jose is not asked. */
export function signatureOf(alg: Alg, key: KeyObject, input: Uint8Array): Buffer {
  switch (alg) {
    case 'ES256':
      return sign('sha256', input, { key, dsaEncoding: 'ieee-p1363' });
    case 'ES384':
      return sign('sha384', input, { key, dsaEncoding: 'ieee-p1363' });
    case 'EdDSA':
      return sign(null, input, key);
    case 'PS256':
      return sign('sha256', input, { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 });
  }
}

/** A compact JWS over exactly these texts. */
export function jwsOver(header: string, payload: string, by: Identity): string {
  const input = [header, payload].map((part) => Buffer.from(part).toString('base64url')).join('.');
  return `${input}.${signatureOf(by.alg, by.privateKey, Buffer.from(input)).toString('base64url')}`;
}

/** A signed statement. */
export function statement(by: Identity, typ: string, payload: unknown): string {
  return jwsOver(JSON.stringify({ alg: by.alg, kid: by.kid, typ }), JSON.stringify(payload), by);
}

/** What a request is signed for. */
export interface Target {
  readonly method: string;
  readonly target: string;
  readonly body?: string | Uint8Array;
}

/** The claims of a good request; `changes` replaces members, and takes out those that are undefined. */
export function claimsFor(by: Identity, { method, target, body = '' }: Target, changes: object = {}): object {
  return {
    iss: by.id,
    aud: ORIGIN,
    iat: NOW_SECONDS,
    exp: NOW_SECONDS + 60,
    jti: freshBytes(16).toString('base64url'),
    htm: method,
    htu: target,
    cd: createHash('sha256').update(body).digest('base64url'),
    ...changes,
  };
}

/** A signed request. */
export function signedRequest(
  by: Identity,
  target: Target,
  changes: { readonly claims?: object; readonly header?: object } = {},
): string {
  const header = { alg: by.alg, kid: by.kid, typ: 'escrowd-request+jwt', ...changes.header };
  return jwsOver(JSON.stringify(header), JSON.stringify(claimsFor(by, target, changes.claims)), by);
}
