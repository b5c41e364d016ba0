import { EscrowError } from '../records/errors.js';
import type { PrincipalId } from '../records/ids.js';
import type { KeySpec, KeyUse } from '../records/keySpecs.js';
import type { Policy, QuorumExpression, Rule } from '../records/policy.js';
import { type Principal, hasRole } from '../records/principals.js';
import { type Shape, minimalQuorums } from './quorums.js';
import type { Quorum } from '../records/quorum.js';

/** What the rules say about one key that is to be made. */
export interface Choice {
  readonly rule: Rule;
  readonly quorums: readonly Quorum[];
}

/** The owner, when there is such a principal with that role. */
export function getOwner(policy: Policy, id: PrincipalId): Principal {
  const owner = policy.principals.get(id);
  if (owner === undefined || !hasRole(owner, 'owner')) throw new EscrowError('owner-unknown');
  return owner;
}

/**
 * Who must agree before this owner's key can come back: the first rule that matches, and its minimal quorums. The
 * owner never counts; retired depositaries are left out of roles.
 *
 * @throws EscrowError `rule-missing`; `secret-release-only`; `depositary-unknown`, `depositary-retired` when the rule names one by person or
 *   attribute; `quorum-impossible`, `quorum-too-large`.
 */
export function choose(policy: Policy, owner: Principal, spec: KeySpec, use: KeyUse): Choice {
  const rule = policy.rules.find((candidate) => mismatches(candidate, owner, spec, use).length === 0);
  if (rule === undefined) throw new EscrowError('rule-missing');
  requireReleaseOnly(rule, spec);
  return { rule, quorums: minimalQuorums(resolve(rule.depositaries, policy, owner)) };
}

/** Nothing can be done with a secret in the token. @throws EscrowError `secret-release-only` */
function requireReleaseOnly({ name, operate }: Rule, spec: KeySpec): void {
  if (spec !== 'secret' || operate === undefined) return;
  throw new EscrowError(
    'secret-release-only',
    `The rule ${name} lets keys be used inside the token, which a secret cannot be: it can be released only. Write a rule for secrets before it (when: { key.spec: secret }) that has release and no operate.`,
  );
}

export interface RuledKey {
  readonly owner: PrincipalId;
  readonly spec: KeySpec;
  readonly use: KeyUse;
}

/**
 * What the rules that are for these keys now say of logging: `proven` when one of them does. Where there is no rule for a key,
 * such as for an owner whom the directory does not list any more, it is enough that any rule says so.
 */
export function loggedFor(policy: Policy, keys: readonly RuledKey[]): { readonly logged?: 'proven' } {
  return keys.some((key) => areUsesProven(policy, key)) ? { logged: 'proven' } : {};
}

function areUsesProven(policy: Policy, { owner: id, spec, use }: RuledKey): boolean {
  const owner = policy.principals.get(id);
  const rule =
    owner && policy.rules.find((candidate) => mismatches(candidate, owner, spec, use).length === 0);
  return rule === undefined ? policy.rules.some(isProven) : isProven(rule);
}

function isProven({ logged }: Rule): boolean {
  return logged === 'proven';
}

/** Why a rule is not for such a key, in words; empty when it is. */
export function mismatches(rule: Rule, owner: Principal, spec: KeySpec, use: KeyUse): readonly string[] {
  const { when } = rule;
  return [
    ...(when.use === undefined || when.use === use ? [] : [`it is for keys to ${when.use}`]),
    ...(when.spec === undefined || when.spec === spec ? [] : [`it is for ${when.spec} keys`]),
    ...Object.entries(when.owner).flatMap(([name, value]) => {
      const own = owner.attributes[name];
      if (own === value) return [];
      return [`it is for owners whose ${name} is ${value}; ${owner.id} has ${own ?? 'none'}`];
    }),
  ];
}

/** Stands where somebody had to be and nobody can: satisfied by no set of people. */
const NOBODY: Shape = { atLeast: 1, of: [] };

function resolve(expression: QuorumExpression, policy: Policy, owner: Principal): Shape {
  if ('anyOf' in expression) {
    return { atLeast: 1, of: expression.anyOf.flatMap((part) => branches(part, policy, owner)) };
  }
  if ('atLeast' in expression) {
    return {
      atLeast: expression.atLeast,
      of: expression.of.flatMap((part) => branches(part, policy, owner)),
    };
  }
  const of =
    'allOf' in expression
      ? eachOnce(expression.allOf.flatMap((part) => branches(part, policy, owner)))
      : branches(expression, policy, owner);
  return of.length === 0 ? NOBODY : { atLeast: of.length, of };
}

/** Who is asked for twice, by a role and by name, is asked for once. */
function eachOnce(shapes: readonly Shape[]): readonly Shape[] {
  const seen = new Set<PrincipalId>();
  return shapes.filter((shape) => {
    if (!('one' in shape)) return true;
    const isNew = !seen.has(shape.one);
    seen.add(shape.one);
    return isNew;
  });
}

/** A role stands for each of its members, and for nobody when it has none; everything else is one branch. */
function branches(part: QuorumExpression, policy: Policy, owner: Principal): readonly Shape[] {
  if ('role' in part) {
    const members = [...policy.principals.values()]
      .filter((person) => hasRole(person, part.role) && hasRole(person, 'depositary') && !person.retired)
      .filter((person) => person.id !== owner.id);
    return members.length === 0 ? [NOBODY] : members.map((person) => ({ one: person.id }));
  }
  if ('person' in part) return [named(part.person, policy, owner)];
  if ('attribute' in part) return [named(owner.attributes[part.attribute], policy, owner)];
  return [resolve(part, policy, owner)];
}

function named(id: string | undefined, policy: Policy, owner: Principal): Shape {
  const person = id === undefined ? undefined : policy.principals.get(id as PrincipalId);
  if (person === undefined || !hasRole(person, 'depositary')) throw new EscrowError('depositary-unknown');
  if (person.retired) throw new EscrowError('depositary-retired');
  return person.id === owner.id ? NOBODY : { one: person.id };
}
