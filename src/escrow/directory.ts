import type { PrincipalId } from './ids.js';
import type { Policy } from './policy.js';
import type { PolicyTrust } from './policySignatures.js';
import { POLICY_QUORUM, policySignatures, signersOf } from './policySignatures.js';
import type { PolicyParser, Store } from './ports.js';
import type { Principal } from './principals.js';

/** The database holds a policy that its administrators have not signed: whoever wrote it there is not followed. */
export class PolicyNotSigned extends Error {
  override readonly name = 'PolicyNotSigned';

  constructor(readonly version: number) {
    super(
      `the policy of version ${version} in the database is not signed by ${POLICY_QUORUM} administrators of the one before it`,
    );
  }
}

/**
 * The directory and rules in force, read anew for every call and parsed once a version. Every version must be signed by
 * administrators of the one before it, from the first administrators on, whom the configuration names: so not even
 * somebody with the database puts in a key or a rule.
 */
export class Directory {
  readonly #store: Pick<Store, 'findPolicy' | 'policies'>;
  readonly #parse: PolicyParser;
  readonly #bootstrap: Policy;
  readonly #trust: PolicyTrust;
  #current: Policy | undefined;

  /** @param bootstrap version 0: the first administrators, in force until the first policy is applied. */
  constructor(
    store: Pick<Store, 'findPolicy' | 'policies'>,
    parse: PolicyParser,
    bootstrap: Policy,
    trust: PolicyTrust,
  ) {
    this.#store = store;
    this.#parse = parse;
    this.#bootstrap = bootstrap;
    this.#trust = trust;
  }

  /** The policy in force now. Throws EscrowError `store-unavailable`, {@link PolicyNotSigned}. */
  async current(): Promise<Policy> {
    const newest = await this.#store.findPolicy();
    if (newest === undefined) return this.#bootstrap;
    if (this.#current?.version !== newest.version) this.#current = await this.#follow(newest.version);
    return this.#current;
  }

  /** Follows the signatures to the policy of this version: from the one that was followed last, or the very first. */
  async #follow(version: number): Promise<Policy> {
    let policy = this.#current ?? this.#bootstrap;
    for (const stored of await this.#store.policies()) {
      if (stored.version <= policy.version) continue;
      if (stored.version > version) break;
      const next = this.#parse(stored.document, stored.version);
      const signatures = await policySignatures(this.#trust, policy, next.hash, stored.signatures);
      const { version: before } = policy;
      const signers = signersOf(signatures.filter(({ base }) => base === before));
      if (next.version !== before + 1 || signers.length < POLICY_QUORUM)
        throw new PolicyNotSigned(next.version);
      policy = next;
    }
    if (policy.version !== version) throw new PolicyNotSigned(version);
    return policy;
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
