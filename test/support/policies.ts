import { planPolicy } from '../../src/client/policy/policyPlan.js';
import { policyDocumentHash, signPolicy } from '../../src/client/policy/policyDocument.js';
import type { Acted, PolicyReply } from '../../src/api/replies.js';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { PersonName, System } from './system.js';

/** A policy document, as far as tests change it. */
export interface PolicyDraft {
  readonly version: number;
  readonly administration?: object;
  readonly principals: readonly ({ readonly id: string } & Record<string, unknown>)[];
  readonly rules: readonly unknown[];
}

/** The document in force. */
export async function documentInForce(system: System): Promise<PolicyDraft> {
  return (await system.client('admin-1').policy()).document as PolicyDraft;
}

/** The same document with members of one principal replaced; without the principal, when `change` is undefined. */
export function withPrincipal(draft: PolicyDraft, id: string, change: object | undefined): PolicyDraft {
  const principals = draft.principals.flatMap((one) => {
    if (one.id !== id) return [one];
    return change === undefined ? [] : [{ ...one, ...change }];
  });
  return { ...draft, principals };
}

/** The signatures of these on the policy that is put on top of another. */
function signaturesOf(
  system: System,
  signers: readonly PersonName[],
  on: { readonly hash: string; readonly base: number; readonly replaces: string },
): Promise<readonly string[]> {
  return Promise.all(
    signers.map((name) => {
      const { signer, pins } = system.identity(name);
      return signPolicy(signer, { ...on, logKey: pins.logKey, now: new Date(), lifetimeMs: 600_000 });
    }),
  );
}

/** Signs and applies a document that no plan was made of. Nothing is said of keys that it loses, where that is not given. */
export async function applyUnplanned(
  system: System,
  draft: PolicyDraft,
  acceptUnrecoverable = 0,
): Promise<Acted<PolicyReply>> {
  const client = system.client('admin-1');
  const { version: base, hash: replaces } = await client.policy();
  const hash = policyDocumentHash(draft);
  const signatures = await signaturesOf(system, ['admin-1', 'admin-2'], { hash, base, replaces });
  return client.applyPolicy({ document: draft, signatures, acceptUnrecoverable });
}

/** Plans, signs and applies a document as people do with a file; the first signer applies it, and accepts what the plan loses. */
export async function putInForce(
  system: System,
  draft: PolicyDraft,
  signers: readonly [PersonName, ...PersonName[]] = ['admin-1', 'admin-2'],
): Promise<
  Acted<PolicyReply> & { readonly warnings: readonly string[]; readonly changes: readonly string[] }
> {
  const file = join(system.directory, 'escrow.yaml');
  writeFileSync(file, JSON.stringify(draft));
  const [first] = signers;
  const plan = await planPolicy(system.client(first), file);
  const { document, hash, base, replaces, warnings, changes, losses } = plan;
  const signatures = await signaturesOf(system, signers, { hash, base, replaces });
  const acceptUnrecoverable = losses?.lost ?? 0;
  const acted = await system.client(first).applyPolicy({ document, signatures, acceptUnrecoverable });
  return { ...acted, warnings, changes };
}
