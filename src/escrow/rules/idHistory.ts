import type { PrincipalId } from '../records/ids.js';
import type { Policy } from '../records/policy.js';
import type { Principal } from '../records/principals.js';

/**
 * Every id, and every key and certificate, that a policy ever listed, and whose it was. Shares, grants, approvals and the log name people by
 * their ids, so an id is never given to somebody else, and a key or certificate never passes from one id to another.
 */
export class IdHistory {
  readonly #ids = new Map<PrincipalId, { readonly kind: Principal['kind']; readonly version: number }>();
  readonly #keys = new Map<string, PrincipalId>();
  #version = -1;

  constructor(...policies: readonly Policy[]) {
    for (const policy of policies) this.note(policy);
  }

  /** The newest version that was noted; -1 before the first. */
  get version(): number {
    return this.#version;
  }

  /** Takes note of a policy that was in force. */
  note(policy: Policy): void {
    for (const { id, kind, ...keys } of policy.principals.values()) {
      this.#ids.set(id, { kind, version: policy.version });
      for (const key of fingerprints(keys)) this.#keys.set(key, id);
    }
    this.#version = policy.version;
  }

  copy(): IdHistory {
    const copy = new IdHistory();
    for (const [id, listed] of this.#ids) copy.#ids.set(id, listed);
    for (const [key, id] of this.#keys) copy.#keys.set(key, id);
    copy.#version = this.#version;
    return copy;
  }

  /**
   * Why `next` may not follow `current`; undefined when it may. An id that was listed before and is not in force comes
   * back only when the document says `returns: <the last version that listed it>`.
   */
  problem(current: Policy, next: Policy): string | undefined {
    for (const person of next.principals.values()) {
      const found = this.#personProblem(current, person);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  #personProblem(current: Policy, person: Principal): string | undefined {
    const { id, kind, returns } = person;
    const listed = this.#ids.get(id);
    if (listed !== undefined && listed.kind !== kind)
      return `${id} was ${nameOf(listed.kind)} before; an id is never given to another principal`;
    if (listed === undefined && returns !== undefined) return `${id} returns, and was never listed before`;
    if (listed !== undefined && !current.principals.has(id) && returns !== listed.version)
      return `${id} was listed until version ${listed.version}; an id is never given to another principal (returns: ${listed.version} says that it is the same)`;
    const stranger = fingerprints(person)
      .map((key) => this.#keys.get(key))
      .find((owner) => owner !== undefined && owner !== id);
    return stranger === undefined
      ? undefined
      : `${id} has a key or certificate that was listed for ${stranger}`;
  }
}

function fingerprints({
  keys,
  certificates,
  depositaryKey,
}: Pick<Principal, 'keys' | 'certificates' | 'depositaryKey'>): readonly string[] {
  return [
    ...keys.map(({ thumbprint }) => thumbprint),
    ...certificates,
    ...(depositaryKey === undefined ? [] : [depositaryKey]),
  ];
}

function nameOf(kind: Principal['kind']): string {
  return kind === 'app' ? 'an app' : 'a person';
}
