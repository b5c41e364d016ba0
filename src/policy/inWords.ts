import type { Brakes, QuorumExpression, RequestTerms, Rule } from '../escrow/records/policy.js';
import { formatDuration } from './durations.js';

/** Who must agree, in words: `2 of (manager, any security-officer)`. */
export function expressionInWords(expression: QuorumExpression): string {
  if ('person' in expression) return expression.person;
  if ('attribute' in expression) return `the owner's ${expression.attribute}`;
  if ('role' in expression) return `role ${expression.role}`;
  if ('allOf' in expression) return `all of (${expression.allOf.map(expressionInWords).join(', ')})`;
  if ('anyOf' in expression) return `any of (${expression.anyOf.map(expressionInWords).join(', ')})`;
  return `${expression.atLeast} of (${expression.of.map(expressionInWords).join(', ')})`;
}

/** When a rule holds, in words: `use is sign and department is finance`; `always`. */
export function conditionInWords({ owner, use, spec }: Rule['when']): string {
  const conditions = [
    ...(use === undefined ? [] : [`use is ${use}`]),
    ...(spec === undefined ? [] : [`the key is ${spec}`]),
    ...Object.entries(owner).map(([name, value]) => `the owner's ${name} is ${value}`),
  ];
  return conditions.length === 0 ? 'always' : `when ${conditions.join(' and ')}`;
}

/** A rule in one sentence. */
export function ruleInWords(rule: Rule): string {
  const { operate, release } = rule;
  return [
    conditionInWords(rule.when),
    `depositaries: ${expressionInWords(rule.depositaries)}`,
    ...(operate === undefined
      ? []
      : [
          `operate: ${operate.operations.join(', ')}${operate.mechanisms === undefined ? '' : ` with ${operate.mechanisms.join(', ')}`}, ${operate.input === 'message' ? 'messages only, ' : ''}at most ${operate.maxUses} uses in ${formatDuration(operate.maxDurationMs)}${operate.rate === undefined ? '' : ` and ${operate.rate.uses} in any ${formatDuration(operate.rate.perMs)}`}${brakesInWords(operate)}`,
        ]),
    ...(release === undefined ? [] : [`release${brakesInWords(release)}`]),
    ...(rule.deliver ? ['the owner may have a copy at birth'] : []),
    ...(rule.import === true ? ['a key may be imported'] : []),
    `filed by: ${rule.requesters.join(', ')}`,
    ...requestTermsInWords(rule.requests),
    ...(rule.logged === 'proven' ? ['each use waits until a checkpoint covers its attempt'] : []),
  ].join('; ');
}

function brakesInWords({ delayMs, ownerMayVeto, replies }: Brakes): string {
  const delay = delayMs === 0 ? '' : ` after ${formatDuration(delayMs)}`;
  const after = replies === 'afterDelay' ? ', replies after the delay' : '';
  return `${delay}${ownerMayVeto ? ', the owner may veto' : ''}${after}`;
}

function requestTermsInWords(terms: RequestTerms): readonly string[] {
  return [
    `a request stands for at most ${formatDuration(terms.maxValidForMs)}, an approval counts for at most ${formatDuration(terms.approvalsHoldMs)}`,
    ...(terms.denialsToEnd === undefined ? [] : [`denials that end it: ${terms.denialsToEnd}`]),
    ...(terms.distinct.length === 0
      ? []
      : [`must differ: ${terms.distinct.map((pair) => pair.replace('-', ' and ')).join(', ')}`]),
  ];
}
