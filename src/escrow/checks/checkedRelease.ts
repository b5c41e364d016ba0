import type { Json } from '../../log/entry/canonical.js';
import type { ReleaseFacts } from '../logged/logFacts.js';
import { canonicalHash, sha256Hex } from '../records/digests.js';
import { EscrowError } from '../records/errors.js';
import type { Recovery, ReleasedKey } from '../records/recovery.js';

/** Each key with the SHA-256 (hex) of what its recipient gets: both ciphertexts, one behind the other. */
export function releasedAsJson(answers: readonly ReleasedKey[]): Json {
  return Object.fromEntries(
    answers.map(({ key, transferKey, wrappedKey }) => [
      key,
      sha256Hex(Buffer.concat([transferKey, wrappedKey])),
    ]),
  );
}

/** SHA-256 (hex) of that: the digest in the log, and what a recipient confirms. */
export function releasedDigest(answers: readonly ReleasedKey[]): string {
  return canonicalHash(releasedAsJson(answers));
}

/**
 * The record must have what the log says was released: its digest is what the log keeps.
 *
 * @throws EscrowError `record-mismatch`
 */
export function requireAsLogged(
  { owner, keys, answers }: Recovery & { readonly answers: readonly ReleasedKey[] },
  facts: ReleaseFacts | undefined,
): void {
  const isAsLogged =
    facts?.owner === owner &&
    facts.keys.join(' ') === keys.join(' ') &&
    facts.digest === releasedDigest(answers);
  if (!isAsLogged)
    throw new EscrowError('record-mismatch', 'The log says something else of what was released.');
}
