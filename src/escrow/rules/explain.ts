import { type ErrorCode, EscrowError } from '../records/errors.js';
import type { PrincipalId } from '../records/ids.js';
import type { KeySpec, KeyUse } from '../records/keySpecs.js';
import type { Policy, QuorumExpression, Rule } from '../records/policy.js';
import { type Principal, hasRole } from '../records/principals.js';
import type { Quorum } from '../records/quorum.js';
import { choose, mismatches } from './rules.js';

/** The keys that the token has enrolled, by depositary: fingerprints. Undefined when the token was not asked. */
export type EnrolledKeys = ReadonlyMap<string, string> | undefined;

/** A key that might be made, and the app that might use it. */
export interface Question {
  readonly owner: Principal;
  readonly spec: KeySpec;
  readonly use: KeyUse;
  readonly app?: string | undefined;
}

/** Somebody whose agreement would count: immutable id, and the keys that would prove it. */
export interface Candidate {
  readonly id: PrincipalId;
  readonly name: string;
  /** RFC 7638 thumbprints of the keys that sign their approvals. */
  readonly keys: readonly string[];
  /** SHA-256 (hex) of the public key that shares are encrypted to. */
  readonly depositaryKey: string | undefined;
  /** What keeps them from taking part, in words that follow their id. */
  readonly problems: readonly string[];
}

/** What the rules say about a key, and why. */
export interface Explanation {
  /** The rules in order, up to the one that holds. */
  readonly considered: readonly { readonly rule: string; readonly because: readonly string[] }[];
  readonly rule: string | undefined;
  readonly quorums: readonly Quorum[];
  readonly candidates: readonly Candidate[];
  /** Why a key could not be made, or not be used by the app: sentences. Empty when nothing is in the way. */
  readonly missing: readonly string[];
  /** What generating such a key would be refused with for the rules' sake. */
  readonly error: ErrorCode | undefined;
}

/** Explains what would be decided for a key, without making one. Pure; quorums are worked out for this owner only. */
export function explain(policy: Policy, question: Question, enrolled: EnrolledKeys): Explanation {
  const { owner, spec, use } = question;
  const position = policy.rules.findIndex((rule) => mismatches(rule, owner, spec, use).length === 0);
  const rule = policy.rules[position];
  const considered = policy.rules
    .slice(0, position < 0 ? policy.rules.length : position + 1)
    .map((one) => ({ rule: one.name, because: mismatches(one, owner, spec, use) }));
  const chosen = quorumsOf(policy, question);
  const quorums = 'quorums' in chosen ? chosen.quorums : [];
  const candidates = [...new Set(quorums.flat())]
    .sort()
    .flatMap((id) => policy.principals.get(id) ?? [])
    .map((person) => candidateOf(person, enrolled));
  const missing = [
    ...(rule === undefined ? ['no rule matches'] : missingIn(rule.depositaries, policy, owner)),
    ...candidates.flatMap(({ id, problems }) => problems.map((problem) => `${id} ${problem}`)),
    ...(question.app === undefined || rule === undefined ? [] : appProblems(policy, rule, use, question.app)),
  ];
  const error = 'error' in chosen ? chosen.error : undefined;
  return { considered, rule: rule?.name, quorums, candidates, missing, error };
}

/** The quorums for such a key, or what stands in the way. */
export function quorumsOf(
  policy: Policy,
  { owner, spec, use }: Question,
): { readonly quorums: readonly Quorum[] } | { readonly error: ErrorCode } {
  try {
    return { quorums: choose(policy, owner, spec, use).quorums };
  } catch (error) {
    if (error instanceof EscrowError) return { error: error.code };
    throw error;
  }
}

/** What keeps a depositary from getting shares, or from using them; in words that follow their id. */
export function depositaryProblems(person: Principal, enrolled: EnrolledKeys): readonly string[] {
  const { id, keys, depositaryKey } = person;
  const key = enrolled?.get(id);
  return [
    ...(keys.length === 0 ? ['has no signing key, and cannot approve'] : []),
    ...(depositaryKey === undefined ? ['has no depositaryKey in the directory, and gets no share'] : []),
    ...(enrolled !== undefined && key === undefined ? ['is not enrolled in the token'] : []),
    ...(key !== undefined && depositaryKey !== undefined && key !== depositaryKey
      ? ['is enrolled in the token with another key than the directory lists']
      : []),
  ];
}

function candidateOf(person: Principal, enrolled: EnrolledKeys): Candidate {
  const { id, name, keys, depositaryKey } = person;
  const problems = depositaryProblems(person, enrolled);
  return { id, name, keys: keys.map(({ thumbprint }) => thumbprint), depositaryKey, problems };
}

/** Whom an expression names and does not find, for this owner: sentences. */
export function missingIn(expression: QuorumExpression, policy: Policy, owner: Principal): readonly string[] {
  if ('role' in expression) {
    const { role } = expression;
    const some = [...policy.principals.values()].some(
      (one) => hasRole(one, role) && hasRole(one, 'depositary') && !one.retired && one.id !== owner.id,
    );
    return some ? [] : [`nobody who could be a depositary for ${owner.id} has the role ${role}`];
  }
  if ('person' in expression) return personMissing(expression.person, expression.person, policy, owner);
  if ('attribute' in expression) {
    const { attribute } = expression;
    const id = owner.attributes[attribute];
    if (id === undefined) return [`the owner ${owner.id} has no attribute ${attribute}`];
    return personMissing(id, `${id}, the ${attribute} of ${owner.id},`, policy, owner);
  }
  return partsOf(expression).flatMap((part) => missingIn(part, policy, owner));
}

function personMissing(id: string, what: string, policy: Policy, owner: Principal): readonly string[] {
  const person = policy.principals.get(id as PrincipalId);
  if (person === undefined) return [`${what} is not in the directory`];
  if (!hasRole(person, 'depositary')) return [`${what} is no depositary`];
  if (person.retired) return [`${what} is retired`];
  return person.id === owner.id ? [`${what} is the owner, who never counts`] : [];
}

/** The parts of an expression that has some. */
export function partsOf(expression: QuorumExpression): readonly QuorumExpression[] {
  if ('allOf' in expression) return expression.allOf;
  if ('anyOf' in expression) return expression.anyOf;
  return 'of' in expression ? expression.of : [];
}

function appProblems(policy: Policy, { name, operate }: Rule, use: KeyUse, id: string): readonly string[] {
  const app = policy.principals.get(id as PrincipalId);
  return [
    ...(app === undefined ? [`there is no ${id}`] : []),
    ...(app !== undefined && !hasRole(app, 'app') ? [`${id} is no app`] : []),
    ...(app?.keys.length === 0 ? [`${id} has no signing key`] : []),
    ...(operate === undefined ? [`rule ${name} does not let apps use the key`] : []),
    ...(operate !== undefined && (use === 'keep' || !operate.operations.includes(use))
      ? [`rule ${name} does not let apps ${use}`]
      : []),
  ];
}
