import type { QuorumExpression, Rule } from '../escrow/policy.js';
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
          `operate: ${operate.operations.join(', ')}, at most ${operate.maxUses} uses in ${formatDuration(operate.maxDurationMs)}`,
        ]),
    ...(release === undefined
      ? []
      : [
          `release${release.delayMs === 0 ? '' : ` after ${formatDuration(release.delayMs)}`}${release.ownerMayVeto ? ', the owner may veto' : ''}`,
        ]),
    ...(rule.deliver ? ['the owner may have a copy at birth'] : []),
    `filed by: ${rule.requesters.join(', ')}`,
  ].join('; ');
}
