import { createHash, randomBytes } from 'node:crypto';

import { base64url } from '../escrow/records/digests.js';
import type { Signer } from './identity/signingKey.js';
import { signStatement } from './statement.js';
import { REQUEST_TYPE } from '../escrow/records/statementTypes.js';

/** The server takes no more. */
const REQUEST_LIFETIME_MS = 60_000;

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
  const { method, target, body, idempotencyKey } = request;
  return signStatement(
    signer,
    REQUEST_TYPE,
    { logKey, now, lifetimeMs: REQUEST_LIFETIME_MS },
    {
      jti: base64url(randomBytes(16)),
      htm: method,
      htu: target,
      cd: base64url(createHash('sha256').update(body).digest()),
      ...(idempotencyKey === undefined ? {} : { ik: idempotencyKey }),
    },
  );
}
