import { canonicalHash } from '../escrow/records/digests.js';
import type { Administration, Policy, QuorumExpression, Rule } from '../escrow/records/policy.js';
import { type Principal, hasRole } from '../escrow/records/principals.js';
import type { Json } from '../log/entry/canonical.js';
import { issueInWords } from './fields.js';
import { policyDocument } from './schema.js';

/** A document that is no policy: each thing that is wrong with it, and where. Tells no values but ids and names. */
export class PolicyProblems extends Error {
  override readonly name = 'PolicyProblems';

  constructor(readonly problems: readonly string[]) {
    super(problems.join('; '));
  }
}

/**
 * Reads a policy document: the directory and the rules, as administrators sign them. Its hash is that of the
 * canonical form (RFC 8785), so that spaces and the order of members mean nothing.
 *
 * @throws PolicyProblems
 */
export function policyOf(document: Json, version: number): Policy {
  const found = policyDocument.safeParse(document);
  if (!found.success) throw new PolicyProblems(found.error.issues.map(issueInWords));
  const { administration, principals, rules } = found.data;
  const problems = [
    ...principalProblems(principals),
    ...administrationProblems(administration, principals),
    ...ruleProblems(rules, principals),
  ];
  if (problems.length > 0) throw new PolicyProblems(problems);
  return {
    version,
    hash: canonicalHash(document),
    administration,
    principals: new Map(principals.map((principal) => [principal.id, principal])),
    rules,
  };
}

function principalProblems(principals: readonly Principal[]): readonly string[] {
  const problems: string[] = [];
  const ids = new Set<string>();
  const thumbprints = new Set<string>();
  for (const [index, { id, roles, keys, certificates, depositaryKey }] of principals.entries()) {
    if (ids.has(id)) problems.push(`principals[${index}].id: ${id} stands twice`);
    ids.add(id);
    if (new Set(roles).size !== roles.length) problems.push(`principals[${index}].roles: one stands twice`);
    if (depositaryKey !== undefined) {
      if (thumbprints.has(depositaryKey)) problems.push(`principals[${index}].depositaryKey: stands twice`);
      thumbprints.add(depositaryKey);
    }
    for (const [position, { thumbprint }] of keys.entries()) {
      // a key that two have would make their requests indistinguishable
      if (thumbprints.has(thumbprint)) problems.push(`principals[${index}].keys[${position}]: stands twice`);
      thumbprints.add(thumbprint);
    }
    for (const [position, certificate] of certificates.entries()) {
      if (thumbprints.has(certificate))
        problems.push(`principals[${index}].certificates[${position}]: stands twice`);
      thumbprints.add(certificate);
    }
  }
  return problems;
}

/** There must be as many administrators as must sign the next policy, or there will never be one. */
function administrationProblems(
  { quorum }: Administration,
  principals: readonly Principal[],
): readonly string[] {
  const able = principals.filter((one) => hasRole(one, 'admin') && one.keys.length > 0 && !one.retired);
  if (able.length >= quorum) return [];
  return [`principals: there must be ${quorum === 2 ? 'two' : quorum} administrators with keys`];
}

function ruleProblems(rules: readonly Rule[], principals: readonly Principal[]): readonly string[] {
  const problems: string[] = [];
  const names = new Set<string>();
  const ids = new Set<string>(principals.map(({ id }) => id));
  for (const [index, { name, depositaries }] of rules.entries()) {
    if (names.has(name)) problems.push(`rules[${index}].name: ${name} stands twice`);
    names.add(name);
    const strangers = people(depositaries).filter((id) => !ids.has(id));
    problems.push(
      ...strangers.map((stranger) => `rules[${index}].depositaries: there is no principal ${stranger}`),
    );
  }
  return problems;
}

function people(part: QuorumExpression): readonly string[] {
  if ('person' in part) return [part.person];
  if ('allOf' in part) return part.allOf.flatMap(people);
  if ('anyOf' in part) return part.anyOf.flatMap(people);
  return 'of' in part ? part.of.flatMap(people) : [];
}
