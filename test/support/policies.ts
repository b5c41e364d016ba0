import { planPolicy } from '../../src/client/policyPlan.js';
import { policyDocumentHash, signPolicy } from '../../src/client/policyDocument.js';
import type { Acted, WirePolicy } from '../../src/escrow/wire.js';
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

/** Signs and applies a document that no plan was made of. */
export async function applyUnplanned(system: System, draft: PolicyDraft): Promise<Acted<WirePolicy>> {
  const client = system.client('admin-1');
  const { version: base, hash: replaces } = await client.policy();
  const hash = policyDocumentHash(draft);
  const order = {
    hash,
    base,
    replaces,
    logKey: system.identity('admin-1').pins.logKey,
    now: new Date(),
    lifetimeMs: 600_000,
  };
  const names = ['admin-1', 'admin-2'] as const;
  const signatures = await Promise.all(names.map((name) => signPolicy(system.identity(name).signer, order)));
  return client.applyPolicy({ document: draft, signatures });
}

/** Plans, signs and applies a document as people do with a file; the first signer applies it. */
export async function putInForce(
  system: System,
  draft: PolicyDraft,
  signers: readonly [PersonName, ...PersonName[]] = ['admin-1', 'admin-2'],
): Promise<
  Acted<WirePolicy> & { readonly warnings: readonly string[]; readonly changes: readonly string[] }
> {
  const file = join(system.directory, 'escrow.yaml');
  writeFileSync(file, JSON.stringify(draft));
  const [first] = signers;
  const { document, hash, base, replaces, warnings, changes } = await planPolicy(system.client(first), file);
  const order = {
    hash,
    base,
    replaces,
    logKey: system.identity('admin-1').pins.logKey,
    now: new Date(),
    lifetimeMs: 600_000,
  };
  const signatures = await Promise.all(
    signers.map((name) => signPolicy(system.identity(name).signer, order)),
  );
  const acted = await system.client(first).applyPolicy({ document, signatures });
  return { ...acted, warnings, changes };
}
