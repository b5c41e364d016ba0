import type { KeyUse } from '../records/keySpecs.js';
import type { OperateTerms } from '../records/policy.js';
import { isWithin } from '../records/rate.js';
import type { Scope } from '../records/scope.js';

export type BoundedScope = Pick<
  Scope,
  'operations' | 'mechanisms' | 'input' | 'maxUses' | 'rate' | 'durationMs'
>;

/** What goes beyond the rule of a key that is for this use, in words; undefined when nothing does. */
export function beyondTerms(terms: OperateTerms, use: KeyUse, scope: BoundedScope): string | undefined {
  const { operations, mechanisms, rate } = terms;
  if (!scope.operations.every((operation) => operations.includes(operation) && operation === use)) {
    return 'The rule or the use of this key does not allow these operations.';
  }
  if (mechanisms !== undefined && !scope.mechanisms.every((mechanism) => mechanisms.includes(mechanism))) {
    return `The rule of this key allows ${mechanisms.join(', ')} only.`;
  }
  if (scope.input === 'digest' && terms.input === 'message') {
    return 'The rule of this key allows messages only, no digests.';
  }
  if (rate !== undefined && (scope.rate === undefined || !isWithin(scope.rate, rate))) {
    return `The rule of this key allows at most ${rate.uses} uses in ${rate.perMs / 1000} seconds.`;
  }
  if (scope.maxUses > terms.maxUses) return `The rule of this key allows at most ${terms.maxUses} uses.`;
  return scope.durationMs > terms.maxDurationMs
    ? `The rule of this key allows at most ${terms.maxDurationMs / 1000} seconds.`
    : undefined;
}
