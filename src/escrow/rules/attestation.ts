import { type Json, canonicalJson } from '../../log/entry/canonical.js';
import type { Deposit } from '../records/deposit.js';
import { askedAsJson, base64url, sha256Hex } from '../records/digests.js';
import type { TokenVerbs } from '../ports/token.js';
import type { Recovery } from '../records/recovery.js';

/** What of a request is attested beside its keys. */
export type AttestedRequest = Pick<Recovery, 'id' | 'asked' | 'requestHash' | 'filedAt' | 'expiresAt'>;

/** What the token attests of a request: exactly this, so that it can be made again from the record and compared. */
export function attestationPayload(
  origin: string,
  request: AttestedRequest,
  deposits: readonly Pick<Deposit, 'key' | 'publicKey' | 'checkValue'>[],
  transport: string,
): Readonly<Record<string, Json>> {
  return {
    iss: origin,
    iat: seconds(request.filedAt),
    exp: seconds(request.expiresAt),
    recovery: request.id,
    requestHash: request.requestHash,
    keys: attestedKeys(deposits),
    ...askedAsJson(request.asked),
    transport,
  };
}

/** A compact JWS (RFC 7515 section 7.1) of this type by the identity key. */
export async function signedByIdentity(
  lent: Pick<TokenVerbs, 'attest'>,
  typ: string,
  payload: Readonly<Record<string, Json>>,
): Promise<string> {
  const input = [{ alg: 'ES256', typ }, payload]
    .map((part) => base64url(Buffer.from(canonicalJson(part))))
    .join('.');
  return `${input}.${base64url(await lent.attest(Buffer.from(input, 'ascii')))}`;
}

/** Each key with the SHA-256 (hex) of its public half, or of the check value of a secret; null where it has neither. */
function attestedKeys(deposits: readonly Pick<Deposit, 'key' | 'publicKey' | 'checkValue'>[]): Json {
  return Object.fromEntries(
    deposits.map(({ key, publicKey, checkValue }) => {
      const known = publicKey ?? checkValue;
      return [key, known === undefined ? null : sha256Hex(known)];
    }),
  );
}

/** Seconds since the epoch, rounded down (RFC 7519 NumericDate). */
function seconds(instant: Date): number {
  return Math.floor(instant.getTime() / 1000);
}
