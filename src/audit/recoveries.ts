import type { Json } from '../log/entry/canonical.js';
import type { Entry } from '../log/entry/entry.js';
import { documentHash } from '../log/export/format.js';
import type { Objection } from '../log/export/verifier.js';

/** Acts that end a request when they are done. */
const ENDING: ReadonlySet<string> = new Set([
  'recovery.activate',
  'recovery.release',
  'recovery.reseal',
  'recovery.supersede',
  'recovery.veto',
  'recovery.cancel',
  'recovery.stop',
  'recovery.expire',
]);

/** Whether a request has come to its end by this entry, so that nothing of it need be remembered. */
export function endsRequest({ act, phase, detail, error, request }: Entry): boolean {
  if (act === 'recovery.request') return request === undefined && (phase === 'denied' || phase === 'failed');
  if (error === 'recovery-failed') return true;
  if (act === 'recovery.deny') return phase === 'done' && detail['status'] === 'denied';
  return ENDING.has(act) && phase === 'done';
}

/** What was asked: the hash that depositaries sign, and the keys that it is of. */
interface AskedFor {
  readonly hash: Json | undefined;
  readonly keys: string;
  /** Whether the request was filed: what was only attempted is none yet. */
  isFiled: boolean;
}

/**
 * Checks that what was decided on is what was asked: the hash of each request is that of what its entry says, whoever
 * approves, denies or carries out a request does so by that hash, and every entry about it names the same keys. As
 * depositaries sign the hash, a log that tells other keys, another scope, another reason or another requester than they were
 * shown is refused; so is one in which a release is of some of the keys, or in which something came of a request that was never filed.
 *
 * Remembers hash and keys of each request that has not ended.
 */
export class RecoveryEvidence {
  readonly #asked = new Map<string, AskedFor>();

  /** Why this entry is refused, if it is. */
  check(entry: Entry): Objection | undefined {
    const { recovery } = entry.subject;
    if (recovery === undefined || !entry.act.startsWith('recovery.')) return undefined;
    const reason =
      (entry.phase === 'attempted' ? this.#checkAttempt(entry, recovery) : undefined) ??
      this.#checkKeys(entry, recovery) ??
      checkReleased(entry);
    const asked = this.#asked.get(recovery);
    if (asked !== undefined && entry.act === 'recovery.request' && entry.phase === 'done')
      asked.isFiled = true;
    if (endsRequest(entry)) this.#asked.delete(recovery);
    return reason;
  }

  /** Takes an outcome that its act had before, as far as it ends something. */
  ended(entry: Entry): void {
    if (endsRequest(entry)) this.#asked.delete(entry.subject.recovery ?? '');
  }

  #checkAttempt(entry: Entry, recovery: string): Objection | undefined {
    const { act, detail } = entry;
    const { requestHash } = detail;
    if (act === 'recovery.request') {
      if (this.#asked.has(recovery)) return { invented: `${recovery} is asked for again` };
      this.#asked.set(recovery, { hash: requestHash, keys: namesOf(entry), isFiled: false });
      return isOf(entry, recovery) ? undefined : { invented: 'the hash of the request is of something else' };
    }
    if (requestHash === undefined) return undefined;
    const asked = this.#asked.get(recovery);
    if (asked?.isFiled !== true) return `${act} of a request that was not made, or has ended`;
    return asked.hash === requestHash ? undefined : `${act} is about something else than was asked`;
  }

  #checkKeys(entry: Entry, recovery: string): string | undefined {
    const asked = this.#asked.get(recovery);
    return asked === undefined || asked.keys === namesOf(entry)
      ? undefined
      : `${entry.act} is about other keys than were asked for`;
  }
}

function namesOf({ subject }: Entry): string {
  return (subject.keys ?? []).join(' ');
}

/** A release is of each key of its request, and what it says of them is what its digest is of. */
function checkReleased({ act, phase, subject, detail, digest }: Entry): string | undefined {
  if (act !== 'recovery.release' || phase !== 'done') return undefined;
  const { released } = detail;
  if (!isMapOf(released, subject.keys)) return `${act} of other keys than were asked for`;
  return documentHash(released) === digest ? undefined : `${act} does not say what was released`;
}

/** Whether a fact is an object with one member for each of these keys, and no other. */
export function isMapOf(
  fact: Json | undefined,
  keys: readonly string[] | undefined,
): fact is Readonly<Record<string, Json>> {
  const isObject = typeof fact === 'object' && fact !== null && !Array.isArray(fact);
  return isObject && Object.keys(fact).sort().join(' ') === keys?.join(' ');
}

/** Whether the hash in the entry of a request is of what else that entry says; see `requestHash` in src/escrow. */
function isOf({ actor, subject, detail }: Entry, recovery: string): boolean {
  const { requestHash, version = 3, descriptions, ...members } = detail;
  // the plan of a reseal is hashed into its scope
  const asked = Object.fromEntries(Object.entries(members).filter(([name]) => name !== 'plan'));
  const { keys, owner } = subject;
  if (keys === undefined) return false;
  const common = { ...asked, version, recovery, requester: actor };
  if (version === 3) return descriptions === undefined && documentHash({ ...common, keys }) === requestHash;
  if (version !== 4 || owner === undefined || !isMapOf(descriptions, keys)) return false;
  return documentHash({ ...common, owner, keys: descriptions }) === requestHash;
}
