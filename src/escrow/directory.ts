import { EscrowError } from './records/errors.js';
import type { PrincipalId } from './records/ids.js';
import type { FollowedLog } from './logged/logFacts.js';
import type { Policy } from './records/policy.js';
import type { PolicyTrust } from './rules/policySignatures.js';
import { IdHistory } from './rules/idHistory.js';
import { isOnTopOf, POLICY_QUORUM, policySignatures, signersOf } from './rules/policySignatures.js';
import type { PolicyParser } from './ports/statements.js';
import type { Store, StoredPolicy } from './ports/store.js';
import type { Principal } from './records/principals.js';

/** The database holds a policy that its administrators have not signed: whoever wrote it there is not followed. */
export class PolicyNotSigned extends Error {
  override readonly name = 'PolicyNotSigned';

  constructor(
    readonly version: number,
    options?: ErrorOptions,
  ) {
    super(
      `the policy of version ${version} in the database is not signed by as many administrators of the one before it as must sign`,
      options,
    );
  }
}

/** What is remembered of a policy that was followed. */
interface FollowedPolicy {
  readonly hash: string;
  /** Who signed it, by signatures that were verified. */
  readonly signers: readonly PrincipalId[];
}

function notAsSigned(version: number): EscrowError {
  return new EscrowError(
    'record-mismatch',
    `The policy of version ${version} in the database is not the one that was signed.`,
  );
}

/** How many policies are read at once while their signatures are followed. */
const POLICIES_AT_ONCE = 20;

/**
 * The directory and rules in force, parsed once a version. Whose act a call becomes is decided by the version that stands in the log then. Every version must be signed by
 * administrators of the one before it, from the first administrators on, whom the configuration names: so not even
 * somebody with the database puts in a key or a rule.
 */
export class Directory {
  readonly #store: Pick<Store, 'policyVersion' | 'policies'>;
  readonly #parse: PolicyParser;
  readonly #bootstrap: Policy;
  readonly #trust: PolicyTrust;
  readonly #floor: number;
  readonly #followed: FollowedLog | undefined;
  #ids: IdHistory;
  #current: Policy | undefined;
  /** Every policy that was followed, by version. */
  #followedPolicies: ReadonlyMap<number, FollowedPolicy> = new Map();

  /**
   * @param bootstrap version 0: the first administrators, in force until the first policy is applied.
   * @param floor so many administrators sign at least, whatever a policy says of it.
   * @param followed says which policy is the newest; without it the store does.
   */
  constructor(
    store: Pick<Store, 'policyVersion' | 'policies'>,
    parse: PolicyParser,
    bootstrap: Policy,
    trust: PolicyTrust,
    floor: number = POLICY_QUORUM,
    followed?: FollowedLog,
  ) {
    this.#store = store;
    this.#parse = parse;
    this.#bootstrap = bootstrap;
    this.#trust = trust;
    this.#floor = floor;
    this.#followed = followed;
    this.#ids = new IdHistory(bootstrap);
  }

  /** The configured floor: no policy may ask for fewer signatures. */
  get floor(): number {
    return this.#floor;
  }

  /** How many administrators must sign what follows this policy. */
  signersNeeded({ administration }: Policy): number {
    return Math.max(administration.quorum, this.#floor);
  }

  /** Which of the rules on ids and keys a policy would break that follows the one in force (see {@link IdHistory}). */
  async idProblem(next: Policy): Promise<string | undefined> {
    const current = await this.current();
    return this.#ids.problem(current, next);
  }

  /** The policy that was followed last, without asking the database: it may have been replaced since. */
  get last(): Policy {
    return this.#current ?? this.#bootstrap;
  }

  /**
   * Of these policies as the database has them, those that were ever in force, each with who signed it. What nobody has signed is
   * left out. Throws EscrowError `record-mismatch` when one of them is another than was signed, and as {@link current}.
   */
  async signedAmong<Stored extends Pick<StoredPolicy, 'version' | 'hash'>>(
    found: readonly Stored[],
  ): Promise<readonly (Stored & Pick<FollowedPolicy, 'signers'>)[]> {
    const newest = await this.current();
    return found.flatMap((stored) => {
      const followed = this.#followedPolicies.get(stored.version);
      if (followed === undefined || stored.version > newest.version) return [];
      if (followed.hash !== stored.hash) throw notAsSigned(stored.version);
      return [{ ...stored, signers: followed.signers }];
    });
  }

  /**
   * The policy in force with its document, as its administrators have signed it; without one before the first. Throws
   * EscrowError `record-mismatch` when the database has another, and as {@link current}.
   */
  async inForce(): Promise<{ readonly policy: Policy; readonly document: string | undefined }> {
    const policy = await this.current();
    if (policy.version === 0) return { policy, document: undefined };
    const [stored] = await this.#store.policies(policy.version - 1, 1);
    const isSigned =
      stored?.version === policy.version && this.#parse(stored.document, stored.version).hash === policy.hash;
    if (!isSigned) throw notAsSigned(policy.version);
    return { policy, document: stored.document };
  }

  /** The policy in force now. Throws EscrowError `store-unavailable`, {@link PolicyNotSigned}. */
  async current(): Promise<Policy> {
    const newest = await this.#newest();
    if (newest === 0) return this.#bootstrap;
    if (this.#current?.version !== newest) this.#current = await this.#follow(newest);
    return this.#current;
  }

  /** The version that the log has last; the store, which other daemons write as well, says when to look there. */
  async #newest(): Promise<number> {
    const stored = await this.#store.policyVersion();
    if (this.#followed === undefined) return stored;
    const { facts } = this.#followed;
    if (stored > (facts.policy?.version ?? 0)) await this.#followed.caughtUp();
    return facts.policy?.version ?? 0;
  }

  /** Follows the signatures to the policy of this version: from the one that was followed last, or the very first. */
  async #follow(version: number): Promise<Policy> {
    let policy = this.#current ?? this.#bootstrap;
    const ids = this.#ids.copy();
    const followed = new Map(this.#followedPolicies);
    for await (const stored of this.#storedAfter(policy.version)) {
      if (stored.version > version) break;
      const next = this.#signable(stored);
      const before = policy;
      const signatures = await policySignatures(this.#trust, before, next.hash, stored.signatures);
      const signers = signersOf(signatures.filter((signature) => isOnTopOf(before, signature)));
      if (next.version !== before.version + 1 || signers.length < before.administration.quorum)
        throw new PolicyNotSigned(next.version);
      ids.note(next);
      followed.set(next.version, { hash: next.hash, signers });
      policy = next;
    }
    if (policy.version !== version) throw new PolicyNotSigned(version);
    const logged = this.#followed?.facts.policy;
    if (logged?.version === version && logged.hash !== policy.hash) throw new PolicyNotSigned(version);
    if (ids.version > this.#ids.version) {
      this.#ids = ids;
      this.#followedPolicies = followed;
    }
    return policy;
  }

  /** What is no policy nobody has signed. Throws {@link PolicyNotSigned}. */
  #signable({ document, version }: StoredPolicy): Policy {
    try {
      return this.#parse(document, version);
    } catch (cause) {
      if (!(cause instanceof EscrowError)) throw cause;
      throw new PolicyNotSigned(version, { cause });
    }
  }

  /** Policies newer than this version, oldest first: not all at once, because a document may have some MiB. */
  async *#storedAfter(version: number): AsyncGenerator<StoredPolicy> {
    let after = version;
    for (;;) {
      const some = await this.#store.policies(after, POLICIES_AT_ONCE);
      yield* some;
      const last = some.at(-1);
      if (last === undefined || last.version <= after) return;
      after = last.version;
    }
  }
}

/** The principal whose request-signing key has this thumbprint. */
export function findByKey(policy: Policy, thumbprint: string): Principal | undefined {
  return indexOf(policy).byKey.get(thumbprint);
}

/** The app that this certificate (`x5t#S256`) is bound to. */
export function findByCertificate(policy: Policy, certificate: string): Principal | undefined {
  return indexOf(policy).byCertificate.get(certificate);
}

interface PolicyIndex {
  readonly byKey: ReadonlyMap<string, Principal>;
  readonly byCertificate: ReadonlyMap<string, Principal>;
}

/** Made once a policy: whoever asks is looked for at each request, known or not. No key or certificate is of two principals. */
const indexes = new WeakMap<Policy, PolicyIndex>();

function indexOf(policy: Policy): PolicyIndex {
  const made = indexes.get(policy);
  if (made !== undefined) return made;
  const principals = [...policy.principals.values()];
  const index: PolicyIndex = {
    byKey: new Map(principals.flatMap((one) => one.keys.map((key) => [key.thumbprint, one] as const))),
    byCertificate: new Map(
      principals.flatMap((one) =>
        one.kind === 'app' ? one.certificates.map((each) => [each, one] as const) : [],
      ),
    ),
  };
  indexes.set(policy, index);
  return index;
}
