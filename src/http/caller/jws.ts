import type { CryptoKey } from 'jose';
import { compactVerify, errors, importJWK } from 'jose';

import type { SigningKey } from '../../escrow/records/principals.js';
import type { Json } from '../../log/entry/canonical.js';
import { decodeBase64url } from '../../log/note/base64.js';
import { JsonError, parseStrictJson } from '../limits/strictJson.js';
import { isJsonObject } from '../../log/entry/canonical.js';

/** Longest JWS that is looked at, in characters. They stand in log entries, which are bounded; most are below 1,500. */
const MAX_CHARACTERS = 8192;
/** All the header members there may be, and all there must be: no `jwk`, `jku`, `x5c`, `crit`, `b64`, `zip`. */
const HEADER_MEMBERS = ['alg', 'kid', 'typ'] as const;

/** A compact JWS whose form is right. Nothing in it is to be believed before {@link isSignedBy} says so. */
export interface UnverifiedJws {
  readonly jws: string;
  readonly header: { readonly alg: string; readonly kid: string; readonly typ: string };
  readonly payload: Readonly<Record<string, Json>>;
}

/** This is not a compact JWS of the wanted type; the message may be told to whoever sent it. */
export class JwsError extends Error {
  override readonly name = 'JwsError';
}

/**
 * Takes a compact JWS (RFC 7515 section 7.1) apart, more strictly than libraries do: three parts of canonical
 * base64url, header and payload strict JSON objects, the header with `alg`, `kid` and `typ` and nothing else, and
 * the `typ` exactly this one (RFC 8725 section 3.11).
 *
 * @throws JwsError
 */
export function readJws(jws: string, typ: string): UnverifiedJws {
  if (jws.length > MAX_CHARACTERS) throw new JwsError('The signed token is too long.');
  const [header, payload, signature, ...more] = jws.split('.');
  if (header === undefined || payload === undefined || signature === undefined || more.length > 0)
    throw new JwsError('The signed token does not have three parts.');
  if (partBytes(signature).length === 0) throw new JwsError('The signed token has no signature.');
  const { alg, kid, typ: found, ...unknown } = partObject(header);
  if (Object.keys(unknown).length > 0 || ![alg, kid, found].every((member) => typeof member === 'string'))
    throw new JwsError(`The header of the signed token has other members than ${HEADER_MEMBERS.join(', ')}.`);
  if (found !== typ) throw new JwsError(`The signed token is not of type ${typ}.`);
  return {
    jws,
    header: { alg: alg as string, kid: kid as string, typ },
    payload: partObject(payload),
  };
}

/** Whether the signature verifies under this key, with the one algorithm that the key is registered for. */
export async function isSignedBy({ jws, header }: UnverifiedJws, key: SigningKey): Promise<boolean> {
  if (header.kid !== key.thumbprint || header.alg !== key.alg) return false;
  try {
    await compactVerify(jws, await importedKey(key), { algorithms: [key.alg] });
    return true;
  } catch (error) {
    if (error instanceof errors.JOSEError) return false;
    throw error;
  }
}

/** Keys as WebCrypto wants them; the directory keeps its keys for as long as a policy is in force. */
const imported = new WeakMap<SigningKey, Promise<CryptoKey>>();

function importedKey(key: SigningKey): Promise<CryptoKey> {
  const known = imported.get(key);
  if (known !== undefined) return known;
  // only `oct` keys come out as bytes, and there are none among SigningKeys
  const fresh = importJWK({ ...key.jwk, kty: key.jwk['kty'] ?? '' }, key.alg) as Promise<CryptoKey>;
  imported.set(key, fresh);
  return fresh;
}

function partBytes(part: string): Uint8Array {
  const bytes = decodeBase64url(part);
  if (bytes === undefined) throw new JwsError('A part of the signed token is not canonical base64url.');
  return bytes;
}

function partObject(part: string): Readonly<Record<string, Json>> {
  try {
    const value = parseStrictJson(partBytes(part));
    if (isJsonObject(value)) return value;
  } catch (error) {
    if (!(error instanceof JsonError)) throw error;
    throw new JwsError(`A part of the signed token is not JSON: ${error.message}.`, { cause: error });
  }
  throw new JwsError('A part of the signed token is not a JSON object.');
}
