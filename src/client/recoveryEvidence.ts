import type { Json } from '../log/canonical.js';
import type { Entry } from '../log/entry.js';
import { documentHash } from '../log/export.js';

/** Acts that end a request when they are done. */
const ENDING: ReadonlySet<string> = new Set([
  'recovery.activate',
  'recovery.release',
  'recovery.veto',
  'recovery.cancel',
  'recovery.expire',
]);
/** Versions of what a request's hash is of; see `requestHash` in src/escrow. */
const VERSIONS = [1, 2];

/** Whether a request has come to its end by this entry, so that nothing of it need be remembered. */
export function endsRequest({ act, phase, detail, error, request }: Entry): boolean {
  if (act === 'recovery.request') return request === undefined && (phase === 'denied' || phase === 'failed');
  if (error === 'recovery-failed') return true;
  if (act === 'recovery.deny') return phase === 'done' && detail['status'] === 'denied';
  return ENDING.has(act) && phase === 'done';
}

/**
 * Checks that what was decided on is what was asked: the hash of each request is that of what its entry says, and
 * whoever approves, denies or carries out a request does so by that hash. As depositaries sign the hash, a log that
 * tells another scope, another reason or another requester than they were shown is refused.
 *
 * Remembers the hash of each request that has not ended.
 */
export class RecoveryEvidence {
  readonly #hashes = new Map<string, Json | undefined>();

  /** Why this entry is refused, if it is. */
  check(entry: Entry): string | undefined {
    const { recovery } = entry.subject;
    if (recovery === undefined) return undefined;
    const reason = entry.phase === 'attempted' ? this.#checkAttempt(entry, recovery) : undefined;
    if (endsRequest(entry)) this.#hashes.delete(recovery);
    return reason;
  }

  #checkAttempt(entry: Entry, recovery: string): string | undefined {
    const { act, detail } = entry;
    const { requestHash } = detail;
    if (act === 'recovery.request') {
      if (this.#hashes.has(recovery)) return `${recovery} is asked for again`;
      this.#hashes.set(recovery, requestHash);
      return isOf(entry, recovery) ? undefined : 'the hash of the request is of something else';
    }
    if (requestHash === undefined) return undefined;
    if (!this.#hashes.has(recovery)) return `${act} of a request that was not made, or has ended`;
    return this.#hashes.get(recovery) === requestHash
      ? undefined
      : `${act} is about something else than was asked`;
  }
}

/** Whether the hash in the entry of a request is of what else that entry says. */
function isOf({ actor, subject, detail }: Entry, recovery: string): boolean {
  const { requestHash, ...asked } = detail;
  const { key } = subject;
  if (key === undefined) return false;
  return VERSIONS.some(
    (version) => documentHash({ ...asked, version, recovery, key, requester: actor }) === requestHash,
  );
}
