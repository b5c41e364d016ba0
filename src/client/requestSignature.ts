import { createHash, randomBytes } from 'node:crypto';

import { base64url } from '../escrow/records/digests.js';
import type { Signer } from './identity/signingKey.js';
import { REQUEST_TYPE } from '../escrow/records/statementTypes.js';

/** How long a signed request stands, in seconds; the server takes no more than 60. */
export const REQUEST_LIFETIME_S = 60;

export interface RequestToSign {
  readonly method: 'GET' | 'POST';
  /** Path and query exactly as sent, e.g. `/v1/keys?limit=5`. */
  readonly target: string;
  /** The exact bytes of the body; empty when there is none. */
  readonly body: Uint8Array;
  /** The Idempotency-Key, where it has one: the string without its quotes. */
  readonly idempotencyKey?: string;
}

/**
 * Signs one request: a compact JWS that binds the caller, the server (by its log's verifier key), the method, the target, the
 * body and the Idempotency-Key, for one use within a minute. It is the value after `Escrowd-JWS ` in the `Authorization` header.
 */
export function signRequest(
  signer: Signer,
  logKey: string,
  request: RequestToSign,
  now: Date,
): Promise<string> {
  const iat = Math.floor(now.getTime() / 1000);
  return signer.sign(REQUEST_TYPE, {
    iss: signer.id,
    aud: logKey,
    iat,
    exp: iat + REQUEST_LIFETIME_S,
    jti: base64url(randomBytes(16)),
    htm: request.method,
    htu: request.target,
    cd: base64url(createHash('sha256').update(request.body).digest()),
    ...(request.idempotencyKey === undefined ? {} : { ik: request.idempotencyKey }),
  });
}
