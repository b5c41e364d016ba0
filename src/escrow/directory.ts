import type { PrincipalId } from './ids.js';
import type { Policy } from './policy.js';
import type { PolicyParser, Store } from './ports.js';
import type { Principal } from './principals.js';

/** The directory and rules in force, read anew for every call and parsed once a version. */
export class Directory {
  readonly #store: Pick<Store, 'findPolicy'>;
  readonly #parse: PolicyParser;
  readonly #bootstrap: Policy;
  #current: Policy | undefined;

  /** @param bootstrap version 0: the first administrators, in force until the first policy is applied. */
  constructor(store: Pick<Store, 'findPolicy'>, parse: PolicyParser, bootstrap: Policy) {
    this.#store = store;
    this.#parse = parse;
    this.#bootstrap = bootstrap;
  }

  /** The policy in force now. Throws EscrowError `store-unavailable`. */
  async current(): Promise<Policy> {
    const newest = await this.#store.findPolicy();
    if (newest === undefined) return this.#bootstrap;
    if (this.#current?.version !== newest.version)
      this.#current = this.#parse(newest.document, newest.version);
    return this.#current;
  }
}

/** The principal whose request-signing key has this thumbprint. */
export function findByKey(policy: Policy, thumbprint: string): Principal | undefined {
  for (const principal of policy.principals.values()) {
    if (principal.keys.some((key) => key.thumbprint === thumbprint)) return principal;
  }
  return undefined;
}

/** Administrators of a policy. */
export function administrators(policy: Policy): readonly PrincipalId[] {
  return [...policy.principals.values()]
    .filter((person) => person.roles.includes('admin'))
    .map((person) => person.id);
}
