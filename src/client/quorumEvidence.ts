import type { Json } from '../log/canonical.js';
import type { Entry } from '../log/entry.js';

/** Acts that bring a key back. */
const RECOVERING: ReadonlySet<string> = new Set(['recovery.activate', 'recovery.release']);
/** Acts that end a request, so that its approvals need not be remembered. */
const ENDING: ReadonlySet<string> = new Set([
  ...RECOVERING,
  'recovery.veto',
  'recovery.cancel',
  'recovery.expire',
]);

/**
 * Checks that no key came back without a quorum: whenever one does, each member of the quorum that is named has approved
 * this very request before, and the quorum is one of those that the key was deposited with.
 *
 * Remembers the quorums of each key, and the approvals of requests that have not ended.
 */
export class QuorumEvidence {
  readonly #quorums = new Map<string, readonly string[]>();
  readonly #approvals = new Map<string, Set<string>>();

  /** Why this entry is refused, if it is. */
  check(entry: Entry): string | undefined {
    const { act, phase, actor, subject, detail } = entry;
    if (act === 'key.generate' && phase === 'attempted' && subject.key !== undefined) {
      this.#quorums.set(subject.key, quorumsOf(detail['quorums']));
    }
    if (subject.recovery === undefined) return undefined;
    if (act === 'recovery.approve' && phase === 'done') {
      const approvals = this.#approvals.get(subject.recovery) ?? new Set();
      this.#approvals.set(subject.recovery, approvals.add(actor));
    }
    if (RECOVERING.has(act) && phase === 'attempted') {
      return this.#checkQuorum(act, subject.recovery, subject.key, detail['quorum']);
    }
    if (ENDING.has(act) && phase === 'done') this.#approvals.delete(subject.recovery);
    return undefined;
  }

  #checkQuorum(
    act: string,
    recovery: string,
    key: string | undefined,
    quorum: Json | undefined,
  ): string | undefined {
    const members = membersOf(quorum);
    if (members.length === 0) return `${act} without a quorum`;
    const missing = members.find((member) => this.#approvals.get(recovery)?.has(member) !== true);
    if (missing !== undefined) return `${act} without the approval of ${missing}`;
    const deposited = key === undefined ? undefined : this.#quorums.get(key);
    if (deposited === undefined) return `${act} of a key whose deposit is not in the log`;
    return deposited.includes(nameOf(members))
      ? undefined
      : `${act} by ${members.join(' and ')}, which is no quorum of this key`;
  }
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
