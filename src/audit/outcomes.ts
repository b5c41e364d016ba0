import { canonicalJson } from '../log/entry/canonical.js';
import type { Entry } from '../log/entry/entry.js';
import { policyAct, policyHashFact } from '../log/export/verifier.js';
import { parseJws } from '../jose/jws.js';

/** What of an attempt its outcome is held to. */
type Begun = Pick<Entry, 'subject' | 'detail'>;

/**
 * Checks that what was done is what was attempted: what people have signed is checked of attempts, and by outcomes they take
 * effect. So an outcome is about exactly what its attempt was about, the policy that comes into force is the one that was signed,
 * on top of the one that is in force by then, the grants that are made and the people who are reminded are those that were named, and the replies that came with
 * an approval are those that its statement names.
 *
 * Remembers the attempts without an outcome.
 */
export class OutcomeEvidence {
  readonly #begun = new Map<string, Begun>();
  #version = 0;

  /** Why this entry is refused, if it is. An attempt never is. */
  check(entry: Entry): string | undefined {
    const { id, phase, subject, detail } = entry;
    if (phase === 'attempted') {
      this.#begun.set(id, { subject, detail });
      return undefined;
    }
    const begun = this.#begun.get(id);
    this.#begun.delete(id);
    if (begun === undefined) return undefined; // found where acts are paired
    if (!isSame(subject, begun.subject))
      return `${entry.act} was attempted about something else than its outcome says`;
    return phase === 'done' ? this.#checkDone(entry, begun) : undefined;
  }

  #checkDone({ act, detail, digest }: Entry, begun: Begun): string | undefined {
    if (act === policyAct) return this.#checkPolicy(detail, begun.detail);
    if (act === 'recovery.activate') {
      const { grants } = begun.detail;
      // attempts from before they named them do not
      return grants === undefined || isSame(detail['grants'], grants)
        ? undefined
        : `${act} made other grants than it said before`;
    }
    if (act === 'recovery.remind') {
      return isSame(detail['depositaries'], begun.detail['depositaries'])
        ? undefined
        : `${act} tells others than it said before`;
    }
    if (act === 'recovery.approve') {
      const { statement } = begun.detail;
      const replies = typeof statement === 'string' ? parseJws(statement)?.payload['replies'] : undefined;
      return replies === undefined || replies === digest
        ? undefined
        : `${act} came with other replies than its statement names`;
    }
    return undefined;
  }

  #checkPolicy(done: Entry['detail'], begun: Entry['detail']): string | undefined {
    const version = Number(done['version']);
    const isIt =
      isSame(done['version'], begun['version']) && isSame(done[policyHashFact], begun[policyHashFact]);
    if (!isIt) return 'another policy comes into force than was signed';
    if (version !== this.#version + 1) {
      return `version ${version} of the policy comes into force on top of version ${this.#version}`;
    }
    this.#version = version;
    return undefined;
  }
}

function isSame(one: unknown, other: unknown): boolean {
  return canonicalJson(one ?? null) === canonicalJson(other ?? null);
}
