import { createHash } from 'node:crypto';

import { sha256Hex } from '../../escrow/records/digests.js';
import { EscrowError } from '../../escrow/records/errors.js';
import { canonicalJson } from '../../log/entry/canonical.js';

/** Longest key, without quotes. */
export const MAX_KEY_CHARACTERS = 128;
/** A string of structured fields (RFC 9651 section 3.3.3): printable ASCII, a quote or backslash after a backslash. */
export const KEY_FIELD = /^"(?:[ !#-[\]-~]|\\["\\])+"$/;

/**
 * The key in the Idempotency-Key field (draft-ietf-httpapi-idempotency-key-header-07 section 2.1): one string without
 * parameters. Undefined when there is no such field.
 *
 * @throws EscrowError `request-malformed`
 */
export function readIdempotencyKey([field, ...more]: readonly string[]): string | undefined {
  if (field === undefined) return undefined;
  const key = KEY_FIELD.test(field) ? field.slice(1, -1).replace(/\\(.)/g, '$1') : '';
  if (key === '' || key.length > MAX_KEY_CHARACTERS || more.length > 0) {
    throw new EscrowError(
      'request-malformed',
      `An Idempotency-Key is one string in quotes, of 1 to ${MAX_KEY_CHARACTERS} printable ASCII characters.`,
    );
  }
  return key;
}

/** What a key is used for: this method, this path and query, these bytes of a body. */
export function fingerprintOf(request: {
  readonly method: string;
  readonly target: string;
  readonly body: Uint8Array;
}): string {
  const body = createHash('sha256').update(request.body).digest('hex');
  return sha256Hex(canonicalJson([request.method, request.target, body]));
}
