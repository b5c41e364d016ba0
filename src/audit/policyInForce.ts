import type { Policy } from '../escrow/records/policy.js';
import type { Json } from '../log/entry/canonical.js';
import type { Entry } from '../log/entry/entry.js';
import { type Documents, policyAct } from '../log/export/verifier.js';
import { PolicyProblems, policyOf } from '../policy/document.js';

/** The policy in force, as the export's documents have it: read once, when somebody asks for it. */
export class PolicyInForce {
  #version = 0;
  /** The message when it cannot be read. */
  #policy: Policy | string | undefined;

  /** Takes the next entry. */
  follow({ act, phase, detail }: Entry): void {
    if (act !== policyAct || phase !== 'done') return;
    this.#version = Number(detail['version']);
    this.#policy = undefined;
  }

  /** The one in force, of these documents; why there is none, in words. */
  in({ inForce }: Documents): Policy | string {
    if (inForce === undefined) return 'it comes before there is a policy';
    this.#policy ??= readPolicy(inForce, this.#version);
    return this.#policy;
  }
}

/** The policy that a document is; why it cannot be read, in words. */
export function readPolicy(document: Json, version: number): Policy | string {
  try {
    return policyOf(document, version);
  } catch (error) {
    if (error instanceof PolicyProblems) return `the policy in force cannot be read: ${error.message}`;
    throw error;
  }
}
