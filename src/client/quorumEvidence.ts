import type { Json } from '../log/canonical.js';
import type { Entry } from '../log/entry.js';
import { documentHash } from '../log/export.js';
import { DigestTable } from './digestTable.js';
import { TOLERANCE_MS } from './directoryInForce.js';
import { parseJws } from './jws.js';
import { endsRequest, isMapOf } from './recoveryEvidence.js';

/** Acts that bring a key back. */
const RECOVERING: ReadonlySet<string> = new Set(['recovery.activate', 'recovery.release']);

/**
 * Checks that no key came back without a quorum: whenever keys do, a quorum is named for each of them, each of its members has
 * approved this very request before, the approval has not expired, and the quorum is one of those that this key was deposited
 * with.
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
  /** Until when each approval counts, in milliseconds, by request and depositary. */
  readonly #approvals = new Map<string, Map<string, number>>();
  /** As its statement says, of each approval whose outcome is to come. */
  readonly #expiries = new Map<string, number>();

  /** Why this entry is refused, if it is. */
  check(entry: Entry): string | undefined {
    const { act, phase, actor, subject, detail, id, time } = entry;
    if (act === 'key.generate' && phase === 'attempted' && subject.key !== undefined) {
      this.#quorums.set(subject.key, this.#placeOf(detail['quorums']));
    }
    if (subject.recovery === undefined) return undefined;
    if (act === 'recovery.approve') {
      const expiresMs = this.#expiries.get(id) ?? expiryOf(detail['statement']);
      if (phase === 'attempted') this.#expiries.set(id, expiresMs);
      else this.#expiries.delete(id);
      if (phase === 'done') this.#approved(subject.recovery, actor, expiresMs);
    }
    if (RECOVERING.has(act) && phase === 'attempted') {
      return this.#checkQuorums(entry, subject.recovery, Date.parse(time));
    }
    if (endsRequest(entry)) this.#approvals.delete(subject.recovery);
    return undefined;
  }

  #placeOf(quorums: Json | undefined): number {
    const named = quorumsOf(quorums);
    const digest = documentHash(named);
    const place = this.#places.get(digest) ?? this.#kinds.push(new Set(named));
    this.#places.set(digest, place);
    return place;
  }

  #approved(recovery: string, depositary: string, expiresMs: number): void {
    const approvals = this.#approvals.get(recovery) ?? new Map<string, number>();
    this.#approvals.set(recovery, approvals.set(depositary, expiresMs));
  }

  #checkQuorums({ act, subject, detail }: Entry, recovery: string, atMs: number): string | undefined {
    const { quorums } = detail;
    if (!isMapOf(quorums, subject.keys)) return `${act} without a quorum for each of its keys`;
    for (const [key, quorum] of Object.entries(quorums)) {
      const reason = this.#checkQuorumOf(key, membersOf(quorum), { act, recovery, atMs });
      if (reason !== undefined) return reason;
    }
    return undefined;
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
    const late = members.find((member) => atMs > (approvals?.get(member) ?? 0) + TOLERANCE_MS);
    if (late !== undefined) return `${act} after the approval of ${late} had expired`;
    const deposited = this.#kinds[(this.#quorums.get(key) ?? 0) - 1];
    if (deposited === undefined) return `${act} of a key whose deposit is not in the log`;
    return deposited.has(nameOf(members))
      ? undefined
      : `${act} by ${members.join(' and ')}, which is no quorum of ${key}`;
  }
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
