import fc from 'fast-check';

import { smallQuorums } from '../../../src/escrow/rules/minimumQuorum.js';
import { KEY_SPEC_NAMES, specAllows } from '../../../src/escrow/records/keySpecs.js';
import type { Policy } from '../../../src/escrow/records/policy.js';
import { choose, mismatches } from '../../../src/escrow/rules/rules.js';
import { policyWarnings } from '../../../src/escrow/rules/warnings.js';
import { policyOf } from '../../../src/policy/document.js';
import { PEOPLE } from '../../http/people.js';

type Expression = string | object;

/** ann and bob administer; dave manages olga, dana manages oscar; dana and zed are officers, zed the only treasurer. */
function policy(
  rules: readonly object[],
  administration: object = {},
  more: Readonly<Record<string, object>> = {},
): Policy {
  const usual: Readonly<Record<string, object>> = {
    ann: { roles: ['admin'] },
    bob: { roles: ['admin'] },
    dave: { roles: ['depositary'] },
    dana: { roles: ['depositary', 'officer', 'owner'], attributes: { manager: 'dave' } },
    zed: { roles: ['depositary', 'officer', 'treasurer'] },
    olga: { roles: ['owner'], attributes: { manager: 'dave', department: 'finance' } },
    oscar: { roles: ['owner'], attributes: { manager: 'dana' } },
  };
  const principals = Object.entries(usual).map(([id, part]) => {
    const { jwk, alg } = PEOPLE[id as keyof typeof PEOPLE];
    return { id, kind: 'person', name: id, keys: [{ ...jwk, alg }], ...part, ...more[id] };
  });
  const document = { version: 1, administration, principals, rules };
  return policyOf(JSON.parse(JSON.stringify(document)) as never, 1);
}

const ruleOf = (depositaries: Expression, when: object = {}, name = 'all'): object => ({
  name,
  when,
  depositaries,
  release: {},
});

const small: readonly (readonly [what: string, depositaries: Expression, who: RegExp])[] = [
  ['a person', 'person:zed', /^rule all, for olga, oscar: zed alone suffices$/m],
  ['the manager', 'manager', /^rule all, for olga: dave alone suffices$/m],
  ['any of two', { anyOf: ['person:zed', 'manager'] }, /alone suffices/],
  ['a role with one member', 'role:treasurer', /zed alone suffices/],
  ['a role in which all but the owner agree', 'role:officer', /^rule all, for dana: zed alone suffices$/m],
  ['one of a role', { atLeast: 1, of: ['role:officer'] }, /alone suffices/],
  ['who is asked for twice', { allOf: ['role:treasurer', 'person:zed'] }, /zed alone suffices/],
  ['a single choice deep inside', { allOf: [{ anyOf: [{ atLeast: 1, of: ['role:officer'] }] }] }, /alone/],
];

test.each(small)('%s is a quorum of one', (_, depositaries, who) => {
  const one = policy([ruleOf(depositaries)]);
  expect(smallQuorums(one, 2).join('\n')).toMatch(who);
  expect(smallQuorums(one, 1)).toEqual([]);
});

test.each([
  ['two of three', { atLeast: 2, of: ['person:dave', 'role:officer'] }],
  ['a manager and an officer', { allOf: ['manager', { anyOf: ['role:officer'] }] }],
  ['a rule by which no key can be made', { allOf: ['manager', 'role:nobody'] }],
])('%s is none', (_, depositaries) => {
  expect(smallQuorums(policy([ruleOf(depositaries, { 'owner.department': 'finance' })]), 2)).toEqual([]);
});

test('a rule is found small for the owners and keys that come to it, not for others', () => {
  const two = ruleOf({ allOf: ['person:dave', 'person:zed'] }, { use: 'sign' }, 'two');
  const one = ruleOf('person:dave', { 'key.spec': 'aes-256', 'owner.department': 'finance' }, 'one');
  expect(smallQuorums(policy([two, one]), 2)).toEqual(['rule one, for olga: dave alone suffices']);
  const rest = ruleOf({ allOf: ['person:dave', 'person:zed'] }, {}, 'rest');
  expect(smallQuorums(policy([rest, one]), 2)).toEqual([]);
  expect(smallQuorums(policy([rest]), 3)).toContain('rule rest, for olga, oscar: dave and zed suffice');
});

test('the keys of owners who are retired are kept apart as those of others are', () => {
  const retired = { olga: { retired: true } };
  const one = ruleOf('person:zed', { 'owner.department': 'finance' });
  expect(smallQuorums(policy([one], {}, retired), 2)).toEqual(['rule all, for olga: zed alone suffices']);
});

test('a policy that says 1 is warned of; so is one from before a policy had to say so, by which keys are still made', () => {
  const said = policy([ruleOf('person:zed')], { minimumQuorum: 1 });
  const old = policy([ruleOf('person:zed')]);
  expect([said.administration.minimumQuorum, old.administration.minimumQuorum]).toEqual([1, 2]);
  for (const one of [said, old]) {
    const warnings = policyWarnings(one, { enrolled: undefined, deposits: undefined });
    expect(warnings).toContain('rule all, for olga, oscar: zed alone suffices');
    const olga = [...one.principals.values()].find(({ id }) => id === 'olga');
    if (olga === undefined) throw new Error('no owner');
    expect(choose(one, olga, 'ec-p256', 'sign').quorums).toEqual([['zed']]);
  }
});

test('nothing is found small exactly when every key of every owner would have large enough quorums', () => {
  const leaf = fc.constantFrom(
    'person:dave',
    'person:zed',
    'person:dana',
    'manager',
    'role:officer',
    'role:treasurer',
  );
  const { expression } = fc.letrec<{ expression: Expression }>((tie) => ({
    expression: fc.oneof(
      { maxDepth: 2, withCrossShrink: true },
      leaf,
      fc.record({ anyOf: fc.array(tie('expression'), { minLength: 1, maxLength: 3 }) }),
      fc.record({ allOf: fc.array(tie('expression'), { minLength: 1, maxLength: 3 }) }),
      fc.array(tie('expression'), { minLength: 2, maxLength: 3 }).map((of) => ({ atLeast: 2, of })),
    ),
  }));
  const when = fc.constantFrom(
    {},
    { use: 'sign' },
    { 'owner.department': 'finance' },
    { 'key.spec': 'ec-p384' },
  );
  let found = 0;
  fc.assert(
    fc.property(
      fc.array(fc.tuple(expression, when), { minLength: 1, maxLength: 3 }),
      fc.integer({ min: 1, max: 4 }),
      (drawn, minimum) => {
        const one = policy(drawn.map(([depositaries, of], at) => ruleOf(depositaries, of, `rule-${at}`)));
        const isSmall = smallestOfAll(one) < minimum;
        if (isSmall) found += 1;
        expect(smallQuorums(one, minimum).length > 0).toBe(isSmall);
      },
    ),
    { numRuns: 300 },
  );
  expect(found).toBeGreaterThan(0);
});

function smallestOfAll(one: Policy): number {
  const sizes = [...one.principals.values()]
    .filter(({ roles }) => roles.includes('owner'))
    .flatMap((owner) =>
      KEY_SPEC_NAMES.flatMap((spec) =>
        (['sign', 'decrypt'] as const).flatMap((use) => {
          const isRuled = one.rules.some((rule) => mismatches(rule, owner, spec, use).length === 0);
          if (!specAllows(spec, use) || !isRuled) return [];
          try {
            return choose(one, owner, spec, use).quorums.map((quorum) => quorum.length);
          } catch {
            return []; // no key can be made
          }
        }),
      ),
    );
  return Math.min(Infinity, ...sizes);
}
