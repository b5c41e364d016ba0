import { findByCertificate, findByKey } from '../directory.js';
import { EscrowError } from '../records/errors.js';
import type { Claim } from '../ports/journal.js';
import type { Policy } from '../records/policy.js';
import type { ApiRole, Principal } from '../records/principals.js';
import { hasRole } from '../records/principals.js';

/** By what a caller was known: the key (RFC 7638 thumbprint) that signed their request, or a client certificate (`x5t#S256`). */
export type Credential = { readonly kid: string } | { readonly certificate: string };

/**
 * A caller as one policy lists them. Each of their acts claims this policy with its attempt, so that nobody's act stands in
 * the log behind the entry of a policy that lists them no more, or otherwise. When another policy has come into force
 * meanwhile, they are looked up in that one ({@link renew}), and what they asked is decided anew.
 */
export class KnownCaller {
  readonly #credential: Credential;
  #policy: Policy;
  #principal: Principal;
  #roles: readonly ApiRole[] | undefined;

  private constructor(credential: Credential, policy: Policy, principal: Principal) {
    this.#credential = credential;
    this.#policy = policy;
    this.#principal = principal;
  }

  /** Whom this policy lists with this credential; undefined when it is nobody. */
  static find(policy: Policy, credential: Credential): KnownCaller | undefined {
    const principal = findBy(policy, credential);
    return principal && new KnownCaller(credential, policy, principal);
  }

  /** The caller as {@link policy} has them. */
  get principal(): Principal {
    return this.#principal;
  }

  /** The policy that is claimed, and by which their acts are decided. */
  get policy(): Policy {
    return this.#policy;
  }

  /** What every attempt of theirs claims. */
  get claim(): Claim {
    return { claim: 'policy-in-force', version: this.#policy.version };
  }

  /** Lets nobody in without one of these roles, in this policy and in those that {@link renew} looks into. @throws EscrowError `forbidden` */
  requireRole(roles: readonly ApiRole[]): void {
    this.#roles = roles;
    if (!roles.some((role) => hasRole(this.#principal, role))) throw new EscrowError('forbidden');
  }

  /**
   * Looks the caller up in the policy that is in force now, which may be the same. Says whether it was another.
   * @throws EscrowError `caller-unknown` when it does not list them by what they were known by, `forbidden`
   */
  renew(policy: Policy): boolean {
    if (policy.version === this.#policy.version) return false;
    const found = findBy(policy, this.#credential);
    // a key or certificate never passes to another id: who has it now is who had it, or nobody
    if (found?.id !== this.#principal.id) {
      throw new EscrowError(
        'caller-unknown',
        'The directory does not list this key or certificate any more.',
      );
    }
    this.#principal = found;
    this.#policy = policy;
    if (this.#roles !== undefined) this.requireRole(this.#roles);
    return true;
  }
}

function findBy(policy: Policy, credential: Credential): Principal | undefined {
  return 'kid' in credential
    ? findByKey(policy, credential.kid)
    : findByCertificate(policy, credential.certificate);
}
