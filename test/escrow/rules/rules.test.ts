import type { PrincipalId } from '../../../src/escrow/records/ids.js';
import type { Policy, QuorumExpression, Rule } from '../../../src/escrow/records/policy.js';
import { usualRequestTerms } from '../../../src/escrow/records/policy.js';
import type { Principal } from '../../../src/escrow/records/principals.js';
import { choose, getOwner, loggedFor } from '../../../src/escrow/rules/rules.js';
import { errorCode } from '../../support/errorCode.js';

const id = (name: string): PrincipalId => name as PrincipalId;

function person(name: string, roles: readonly string[], more: Partial<Principal> = {}): Principal {
  return {
    id: id(name),
    kind: 'person',
    name,
    roles,
    attributes: {},
    keys: [],
    deliveryKey: undefined,
    retired: false,
    certificates: [],
    depositaryKey: undefined,
    returns: undefined,
    ...more,
  };
}

function policyOf(depositaries: QuorumExpression, principals: readonly Principal[], when = {}): Policy {
  const rule: Rule = {
    name: 'only',
    when: { owner: {}, use: undefined, spec: undefined, ...when },
    depositaries,
    requesters: ['depositary'],
    requests: usualRequestTerms(0),
    deliver: false,
    operate: {
      operations: ['sign'],
      maxUses: 1,
      maxDurationMs: 1000,
      rate: undefined,
      mechanisms: undefined,
      input: 'digest',
      delayMs: 0,
      ownerMayVeto: false,
    },
    release: undefined,
  };
  return {
    version: 1,
    hash: '',
    administration: { quorum: 2, floor: 2, minimumQuorum: 1 },
    principals: new Map(principals.map((one) => [one.id, one])),
    rules: [rule],
  };
}

const owner = person('owner', ['owner'], { attributes: { manager: 'boss', department: 'finance' } });
const boss = person('boss', ['depositary']);
const officers = [person('off-1', ['depositary', 'officer']), person('off-2', ['depositary', 'officer'])];
const everyone = [owner, boss, ...officers];
const chosen = (
  expression: QuorumExpression,
  principals = everyone,
  of = owner,
): readonly (readonly string[])[] => choose(policyOf(expression, principals), of, 'ec-p256', 'sign').quorums;

const twoOfManagerAndOfficers: QuorumExpression = {
  atLeast: 2,
  of: [{ attribute: 'manager' }, { role: 'officer' }],
};

const NO_BRAKES = { delayMs: 0, ownerMayVeto: false };

describe('rules choose', () => {
  it('each member of a role and the person an attribute names', () => {
    expect(chosen(twoOfManagerAndOfficers)).toEqual([
      ['boss', 'off-1'],
      ['boss', 'off-2'],
      ['off-1', 'off-2'],
    ]);
  });

  it('the first rule that matches owner, use and specification', () => {
    const policy = policyOf({ role: 'officer' }, everyone, { owner: { department: 'sales' } });
    expect(errorCode(() => choose(policy, owner, 'ec-p256', 'sign'))).toBe('rule-missing');
    const other = policyOf({ role: 'officer' }, everyone, { use: 'decrypt' });
    expect(errorCode(() => choose(other, owner, 'rsa-2048', 'sign'))).toBe('rule-missing');
    expect(choose(other, owner, 'rsa-2048', 'decrypt').rule.name).toBe('only');
  });

  it('no rule that lets keys be used for a secret, and passes none over', () => {
    const policy = policyOf({ role: 'officer' }, everyone);
    const [rule] = policy.rules;
    if (rule === undefined) throw new Error('there is a rule');
    expect(errorCode(() => choose(policy, owner, 'secret', 'keep'))).toBe('secret-release-only');
    const releasing = { ...rule, name: 'secrets', operate: undefined, release: NO_BRAKES };
    const before = {
      ...policy,
      rules: [{ ...releasing, when: { ...rule.when, spec: 'secret' as const } }, rule],
    };
    expect(choose(before, owner, 'secret', 'keep').rule.name).toBe('secrets');
    expect(choose(before, owner, 'ec-p256', 'sign').rule.name).toBe('only');
  });

  it('never the owner, by role, by attribute or by name', () => {
    const self = person('owner', ['owner', 'depositary', 'officer'], { attributes: { manager: 'owner' } });
    const principals = [self, boss, ...officers];
    expect(chosen({ role: 'officer' }, principals, self)).toEqual([['off-1', 'off-2']]);
    expect(errorCode(() => chosen({ attribute: 'manager' }, principals, self))).toBe('quorum-impossible');
    const both = { allOf: [{ person: id('owner') }, { person: id('boss') }] };
    expect(errorCode(() => chosen(both, principals, self))).toBe('quorum-impossible');
  });

  it('who is in two roles once, and never as two who agree', () => {
    const two = [
      person('off-1', ['depositary', 'officer', 'board']),
      person('off-2', ['depositary', 'officer']),
    ];
    const principals = [owner, boss, ...two];
    expect(chosen({ atLeast: 2, of: [{ role: 'officer' }, { role: 'board' }] }, principals)).toEqual([
      ['off-1', 'off-2'],
    ]);
    // everyone of a role, and one of them by name: that one need agree once
    expect(chosen({ allOf: [{ role: 'officer' }, { person: id('off-1') }] }, principals)).toEqual([
      ['off-1', 'off-2'],
    ]);
    // the manager is the only officer there is: the manager alone is not enough
    const sole = [owner, person('boss', ['depositary', 'officer'])];
    const both = { allOf: [{ attribute: 'manager' }, { anyOf: [{ role: 'officer' }] }] };
    expect(errorCode(() => chosen(both, sole))).toBe('quorum-impossible');
  });

  it('nobody for an empty role: what needs it cannot be met', () => {
    expect(errorCode(() => chosen({ allOf: [{ attribute: 'manager' }, { role: 'nobody-has-it' }] }))).toBe(
      'quorum-impossible',
    );
    expect(chosen({ anyOf: [{ attribute: 'manager' }, { role: 'nobody-has-it' }] })).toEqual([['boss']]);
  });

  it('no retired depositary: left out of a role, refused by name', () => {
    const principals = [owner, person('boss', ['depositary'], { retired: true }), ...officers];
    expect(errorCode(() => chosen(twoOfManagerAndOfficers, principals))).toBe('depositary-retired');
    const [first] = officers;
    const oneLeft = [
      owner,
      boss,
      ...(first === undefined ? [] : [first]),
      person('off-2', ['depositary', 'officer'], { retired: true }),
    ];
    expect(chosen({ role: 'officer' }, oneLeft)).toEqual([['off-1']]);
    expect(errorCode(() => chosen({ atLeast: 2, of: [{ role: 'officer' }] }, oneLeft))).toBe(
      'quorum-impossible',
    );
  });

  it('nobody that the directory does not have as a depositary', () => {
    expect(errorCode(() => chosen({ person: id('ghost') }))).toBe('depositary-unknown');
    expect(errorCode(() => chosen({ attribute: 'mentor' }))).toBe('depositary-unknown');
    expect(errorCode(() => chosen({ person: id('app') }, [...everyone, person('app', ['app'])]))).toBe(
      'depositary-unknown',
    );
  });

  it('only for owners that there are', () => {
    const policy = policyOf({ role: 'officer' }, everyone);
    expect(getOwner(policy, id('owner'))).toBe(owner);
    expect(errorCode(() => getOwner(policy, id('ghost')))).toBe('owner-unknown');
    expect(errorCode(() => getOwner(policy, id('boss')))).toBe('owner-unknown');
  });
});

describe('whether a use waits for the log', () => {
  const key = { owner: owner.id, spec: 'ec-p256', use: 'sign' } as const;
  const policyWith = (...rules: readonly Partial<Rule>[]): Policy => {
    const policy = policyOf({ person: boss.id }, everyone);
    return { ...policy, rules: rules.flatMap((more) => policy.rules.map((rule) => ({ ...rule, ...more }))) };
  };
  const when = (more: Partial<Rule['when']>): Rule['when'] => ({
    owner: {},
    use: undefined,
    spec: undefined,
    ...more,
  });
  const proven = { logged: 'proven' } as const;

  it.each<[string, boolean, readonly Partial<Rule>[]]>([
    ['its rule says nothing', false, [{}]],
    ['its rule says so', true, [proven]],
    ['an earlier rule is for it, and says nothing', false, [{}, proven]],
    ['the rule that says so is for other keys', false, [{ ...proven, when: when({ use: 'decrypt' }) }, {}]],
    ['the rule that says nothing is for other keys', true, [{ when: when({ spec: 'rsa-2048' }) }, proven]],
    ['no rule is for it, and one says so', true, [{ ...proven, when: when({ use: 'decrypt' }) }]],
    ['there is no rule', false, []],
  ])('is said by the first rule that is for the key: %s', (_what, waits, rules) => {
    expect(loggedFor(policyWith(...rules), [key])).toEqual(waits ? proven : {});
  });

  it('is so for an owner whom nobody knows when any rule says so', () => {
    const gone = { ...key, owner: person('gone', []).id };
    expect(loggedFor(policyWith({}, proven), [gone])).toEqual(proven);
    expect(loggedFor(policyWith({}), [gone])).toEqual({});
  });

  it('is so for several keys when it is for one', () => {
    const rules = [{ ...proven, when: when({ use: 'decrypt' }) }, {}];
    expect(loggedFor(policyWith(...rules), [key, { ...key, use: 'decrypt' }])).toEqual(proven);
  });
});
