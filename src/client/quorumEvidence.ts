import type { Json } from '../log/canonical.js';
import type { Purpose } from '../escrow/policy.js';
import type { Entry } from '../log/entry.js';
import { documentHash } from '../log/export.js';
import { DigestTable } from './digestTable.js';
import { TOLERANCE_MS } from './directoryInForce.js';
import { parseJws } from './jws.js';
import { endsRequest, isMapOf } from './recoveryEvidence.js';
import type { TermsEvidence } from './termsEvidence.js';

/** Acts that bring a key back, and what for. */
const RECOVERING: ReadonlyMap<string, Purpose> = new Map([
  ['recovery.activate', 'operate'],
  ['recovery.release', 'release'],
]);
/** How far the clocks of daemons may be apart, which record the end of a delay and what waited for it. */
const CLOCKS_APART_MS = 10_000;

/** What is remembered of an approval, in milliseconds. */
interface Approved {
  readonly atMs: number;
  readonly untilMs: number;
}

/**
 * Checks that no key came back without a quorum: whenever keys do, a quorum is named for each of them, each of its members has
 * approved this very request before, the approval has not expired, the quorum is one of those that this key was deposited
 * with, and the longest delay that the rules of the keys impose has passed since the last of them approved. What was released
 * went to whom the request named, who had approved.
 *
 * Remembers the quorums of each key, once for all keys that have the same, and the approvals of requests that have not
 * ended.
 */
export class QuorumEvidence {
  /** The place, counted from 1, in {@link #kinds} of the quorums of each key. */
  readonly #quorums = new DigestTable();
  /** Each set of quorums that there is. */
  readonly #kinds: ReadonlySet<string>[] = [];
  /** The place of each in that list, by a digest of it. */
  readonly #places = new Map<string, number>();
  /** By request and depositary. */
  readonly #approvals = new Map<string, Map<string, Approved>>();
  /** Whom a release is asked for, by request. */
  readonly #recipients = new Map<string, string>();
  readonly #terms: Pick<TermsEvidence, 'delayMs'>;

  /** As its statement says, of each approval whose outcome is to come. */
  readonly #expiries = new Map<string, number>();

  /** @param terms knows the delay of each key */
  constructor(terms: Pick<TermsEvidence, 'delayMs'>) {
    this.#terms = terms;
  }

  /** Why this entry is refused, if it is. */
  check(entry: Entry): string | undefined {
    const { act, phase, actor, subject, detail, id, time } = entry;
    if (act === 'key.generate' && phase === 'attempted' && subject.key !== undefined) {
      this.#quorums.set(subject.key, this.#placeOf(detail['quorums']));
    }
    if (subject.recovery === undefined) return undefined;
    if (act === 'recovery.request' && phase === 'attempted') {
      const recipient = recipientOf(detail['scope']);
      if (recipient !== undefined) this.#recipients.set(subject.recovery, recipient);
    }
    if (act === 'recovery.approve') {
      const expiresMs = this.#expiries.get(id) ?? expiryOf(detail['statement']);
      if (phase === 'attempted') this.#expiries.set(id, expiresMs);
      else this.#expiries.delete(id);
      if (phase === 'done') {
        this.#approved(subject.recovery, actor, { atMs: Date.parse(time), untilMs: expiresMs });
      }
    }
    const purpose = RECOVERING.get(act);
    if (purpose !== undefined && phase === 'attempted') {
      return this.#checkQuorums(entry, { recovery: subject.recovery, purpose, atMs: Date.parse(time) });
    }
    const reason =
      act === 'recovery.release' && phase === 'done'
        ? this.#checkRecipient(entry, subject.recovery)
        : undefined;
    if (endsRequest(entry)) {
      this.#approvals.delete(subject.recovery);
      this.#recipients.delete(subject.recovery);
    }
    return reason;
  }

  #placeOf(quorums: Json | undefined): number {
    const named = quorumsOf(quorums);
    const digest = documentHash(named);
    const place = this.#places.get(digest) ?? this.#kinds.push(new Set(named));
    this.#places.set(digest, place);
    return place;
  }

  #approved(recovery: string, depositary: string, approved: Approved): void {
    const approvals = this.#approvals.get(recovery) ?? new Map<string, Approved>();
    this.#approvals.set(recovery, approvals.set(depositary, approved));
  }

  /** Logs from before this was looked at name the recipient as well. */
  #checkRecipient({ act, detail }: Entry, recovery: string): string | undefined {
    const { recipient } = detail;
    const named = this.#recipients.get(recovery);
    if (typeof recipient !== 'string' || recipient !== named) {
      return `${act} to another than ${named ?? 'anybody'}, whom the request names`;
    }
    return this.#approvals.get(recovery)?.has(recipient) === true
      ? undefined
      : `${act} to ${recipient}, who has not approved`;
  }

  #checkQuorums(
    { act, subject, detail }: Entry,
    {
      recovery,
      purpose,
      atMs,
    }: { readonly recovery: string; readonly purpose: Purpose; readonly atMs: number },
  ): string | undefined {
    const { quorums } = detail;
    if (!isMapOf(quorums, subject.keys)) return `${act} without a quorum for each of its keys`;
    for (const [key, quorum] of Object.entries(quorums)) {
      const reason = this.#checkQuorumOf(key, membersOf(quorum), { act, recovery, atMs });
      if (reason !== undefined) return reason;
    }
    const members = Object.values(quorums).flatMap(membersOf);
    const approvals = this.#approvals.get(recovery);
    const completeMs = Math.max(...members.map((member) => approvals?.get(member)?.atMs ?? 0));
    const delayMs = Math.max(...Object.keys(quorums).map((key) => this.#terms.delayMs(key, purpose)));
    return atMs + CLOCKS_APART_MS < completeMs + delayMs
      ? `${act} before the delay of ${delayMs / 1000} seconds was over`
      : undefined;
  }

  #checkQuorumOf(
    key: string,
    members: readonly string[],
    { act, recovery, atMs }: { readonly act: string; readonly recovery: string; readonly atMs: number },
  ): string | undefined {
    if (members.length === 0) return `${act} without a quorum`;
    const approvals = this.#approvals.get(recovery);
    const missing = members.find((member) => approvals?.has(member) !== true);
    if (missing !== undefined) return `${act} without the approval of ${missing}`;
    const late = members.find((member) => atMs > (approvals?.get(member)?.untilMs ?? 0) + TOLERANCE_MS);
    if (late !== undefined) return `${act} after the approval of ${late} had expired`;
    const deposited = this.#kinds[(this.#quorums.get(key) ?? 0) - 1];
    if (deposited === undefined) return `${act} of a key whose deposit is not in the log`;
    return deposited.has(nameOf(members))
      ? undefined
      : `${act} by ${members.join(' and ')}, which is no quorum of ${key}`;
  }
}

/** Of a release; undefined of anything else. */
function recipientOf(scope: Json | undefined): string | undefined {
  if (typeof scope !== 'object' || scope === null || !('recipient' in scope)) return undefined;
  const { recipient } = scope as Readonly<Record<string, Json>>;
  return typeof recipient === 'string' ? recipient : undefined;
}

/** Milliseconds; 0, which is past, when the statement does not say. */
function expiryOf(statement: Json | undefined): number {
  const jws = typeof statement === 'string' ? parseJws(statement) : undefined;
  const exp = jws?.payload['exp'];
  return typeof exp === 'number' ? exp * 1000 : 0;
}

function quorumsOf(quorums: Json | undefined): readonly string[] {
  return Array.isArray(quorums)
    ? (quorums as readonly Json[]).map((quorum) => nameOf(membersOf(quorum)))
    : [];
}

function membersOf(quorum: Json | undefined): readonly string[] {
  return Array.isArray(quorum)
    ? (quorum as readonly Json[]).filter((member) => typeof member === 'string')
    : [];
}

/** A set of people by one name, whatever their order. */
function nameOf(members: readonly string[]): string {
  return [...new Set(members)].sort().join(' ');
}
