import type { Policy } from '../../escrow/records/policy.js';
import type { Principal } from '../../escrow/records/principals.js';
import { hasRole } from '../../escrow/records/principals.js';
import { parsePrincipalId } from '../../escrow/records/ids.js';
import { policyAct, policyHashFact } from '../../log/export/verifier.js';
import { readPolicy } from '../policyInForce.js';
import { textOf } from './facts.js';
import type { SeenEntry } from './follower.js';

/**
 * People and apps, as the directories of a log have listed them: each as the newest that lists them does, also who has left. So
 * names and departments are those of today, whatever they were when something was done.
 */
export class People {
  readonly #listed = new Map<string, Principal>();
  #policy: Policy | undefined;
  #before: Policy | undefined;

  /** Takes the next entry. A policy that this program cannot read lists nobody. */
  follow({ entry, documents }: Pick<SeenEntry, 'entry' | 'documents'>): void {
    if (entry.act !== policyAct || entry.phase !== 'done') return;
    const document = documents.find(textOf(entry.detail[policyHashFact]) ?? '');
    const read = document === undefined ? undefined : readPolicy(document, Number(entry.detail['version']));
    this.#before = this.#policy;
    this.#policy = typeof read === 'object' ? read : undefined;
    for (const [id, principal] of this.#policy?.principals ?? []) this.#listed.set(id, principal);
  }

  /** The policy in force; undefined before the first, and where it cannot be read. */
  get policy(): Policy | undefined {
    return this.#policy;
  }

  /** The policy that the one in force has replaced. */
  get replaced(): Policy | undefined {
    return this.#before;
  }

  knows(id: string): boolean {
    return this.#listed.has(id);
  }

  /** Empty where no directory has listed them. */
  nameOf(id: string): string {
    return this.#listed.get(id)?.name ?? '';
  }

  /** Empty where the directory says none. */
  departmentOf(id: string): string {
    return this.#listed.get(id)?.attributes['department'] ?? '';
  }

  /** Every department that one of them has. */
  get departments(): ReadonlySet<string> {
    return new Set([...this.#listed.keys()].map((id) => this.departmentOf(id)));
  }

  /** Whether the policy in force lists them as an administrator. */
  isAdministrator(id: string): boolean {
    const principal = this.#principal(id);
    return principal !== undefined && hasRole(principal, 'admin');
  }

  /** Those whom the policy in force lists with this role, in the order of their ids. */
  withRole(role: string): readonly Principal[] {
    return [...(this.#policy?.principals.values() ?? [])]
      .filter((principal) => hasRole(principal, role))
      .sort((a, b) => (a.id < b.id ? -1 : 1));
  }

  #principal(id: string): Principal | undefined {
    const parsed = parsePrincipalId(id);
    return parsed === undefined ? undefined : this.#policy?.principals.get(parsed);
  }
}
