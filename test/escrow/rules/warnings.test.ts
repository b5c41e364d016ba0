import { explain } from '../../../src/escrow/rules/explain.js';
import type { Policy } from '../../../src/escrow/records/policy.js';
import type { DepositGroup } from '../../../src/escrow/records/depositedQuorums.ts';
import { policyWarnings } from '../../../src/escrow/rules/warnings.js';
import { policyChanges } from '../../../src/policy/changes.js';
import { policyOf } from '../../../src/policy/document.js';
import { PEOPLE } from '../../http/people.js';
import { principal } from '../../support/escrowChain.js';

/** People by what differs from the usual; keys are those of the people in test/http. */
type Changes = Readonly<Record<string, object | undefined>>;

const FINGERPRINTS = {
  ann: 'aa'.repeat(32),
  dana: 'dd'.repeat(32),
  dave: 'de'.repeat(32),
  zed: '22'.repeat(32),
};

const anOfficer = { allOf: ['manager', { anyOf: ['role:officer'] }] };

/** ann, bob and mailer administer; dave manages olga; dana and zed are officers. */
function policy(changes: Changes = {}, depositaries: unknown = anOfficer): Policy {
  const usual: Readonly<Record<string, object>> = {
    ann: { roles: ['admin'] },
    bob: { roles: ['admin'] },
    oscar: { roles: ['admin'] },
    dave: { roles: ['depositary'], depositaryKey: FINGERPRINTS.dave },
    dana: { roles: ['depositary', 'officer'], depositaryKey: FINGERPRINTS.dana },
    zed: { roles: ['depositary', 'officer'], depositaryKey: FINGERPRINTS.zed },
    olga: { roles: ['owner'], attributes: { manager: 'dave' } },
  };
  const principals = Object.entries({ ...usual, ...changes }).flatMap(([id, part]) => {
    const { jwk, alg } = PEOPLE[id as keyof typeof PEOPLE];
    const common = { id, kind: 'person', name: id, keys: [{ ...jwk, alg }], ...usual[id] };
    return part === undefined ? [] : [{ ...common, ...part }];
  });
  const operate = { operations: ['sign'], maxUses: 1, maxDuration: 'PT1H' };
  const rules = [{ name: 'signing', when: { use: 'sign' }, depositaries, operate }];
  return policyOf(JSON.parse(JSON.stringify({ version: 1, principals, rules })) as never, 1);
}

const enrolled = new Map(Object.entries(FINGERPRINTS));
const warningsOf = (one: Policy, deposits: readonly DepositGroup[] = []): string =>
  policyWarnings(one, { enrolled, deposits }).join('\n');

test('nothing is said of a policy in which everyone can be spared', () => {
  const anyTwo = { atLeast: 2, of: ['manager', 'role:officer'] };
  expect(warningsOf(policy({}, anyTwo))).toBe('');
});

describe('it is said before a quorum becomes impossible, that', () => {
  test('a manager has no keys', () => {
    expect(warningsOf(policy({ dave: { keys: [] } }))).toMatch(
      /rule signing, for olga: no key can be made: dave has no signing key/,
    );
  });

  test('one of two officers is leaving', () => {
    expect(warningsOf(policy())).toBe('');
    expect(warningsOf(policy({ zed: undefined }))).toMatch(/if dana leaves, no quorum is possible any more/);
  });

  test('a depositary is not enrolled, or with another key than is listed', () => {
    const stranger = new Map([...enrolled, ['dave', 'ff'.repeat(32)]]);
    stranger.delete('zed');
    const said = policyWarnings(policy(), { enrolled: stranger, deposits: [] }).join('\n');
    expect(said).toMatch(/dave is enrolled in the token with another key than the directory lists/);
    expect(said).toMatch(/zed is not enrolled in the token/);
  });

  test('an administrator more cannot be spared', () => {
    expect(warningsOf(policy({ oscar: undefined }))).toMatch(/2 administrators have keys, and 2 must sign/);
  });

  test('deposits are left without a live quorum, or with the last', () => {
    const quorums = [['dana', 'dave'].map(principal), ['dave', 'zed'].map(principal)];
    const made = { purpose: 'operate', quorums, recipients: enrolled } as const;
    const deposits = [{ purposes: [made], keys: 12 }];
    expect(warningsOf(policy(), deposits)).toBe('');
    expect(warningsOf(policy({ zed: undefined }), deposits)).toMatch(
      /12 deposits to operate would be left with one quorum \(dana and dave\): zed is not in the directory/,
    );
    // who is retired still decides on what there is; who has no key, or is gone, does not
    expect(warningsOf(policy({ dave: { retired: true } }), deposits)).not.toMatch(/deposits/);
    expect(warningsOf(policy({ dave: { keys: [] } }), deposits)).toMatch(
      /12 deposits to operate would be left without any quorum that could agree: dave has no signing key/,
    );
  });
});

test('a role that was renamed for its members, and not in the rule, means nobody', () => {
  const renamed = policy({
    dana: { roles: ['depositary', 'security'] },
    zed: { roles: ['depositary', 'security'] },
  });
  expect(warningsOf(renamed)).toMatch(
    /no quorum is possible: nobody who could be a depositary .* role officer/,
  );
});

test('an empty role means nobody: never everybody, and never that nobody need agree', () => {
  const empty = policy({ dana: undefined, zed: undefined });
  const olga = empty.principals.get(principal('olga'));
  if (olga === undefined) throw new Error('no owner');
  const said = explain(empty, { owner: olga, spec: 'ec-p256', use: 'sign' }, enrolled);
  expect(said).toMatchObject({ quorums: [], error: 'quorum-impossible' });
});

test('who has two roles counts once', () => {
  const twice = { atLeast: 2, of: ['role:officer', 'role:depositary', 'person:dana'] };
  const one = policy({ zed: undefined, dave: undefined }, twice);
  const olga = one.principals.get(principal('olga'));
  if (olga === undefined) throw new Error('no owner');
  // dana is an officer, a depositary, and named: she alone would be two, were she counted twice
  const said = explain(one, { owner: olga, spec: 'ec-p256', use: 'sign' }, enrolled);
  expect(said).toMatchObject({ quorums: [], error: 'quorum-impossible' });
});

test('it is explained which rule matches, why the earlier ones do not, and who is missing', () => {
  const two = policy({ dave: { keys: [] } });
  const [signing] = two.rules;
  const olga = two.principals.get(principal('olga'));
  if (signing === undefined || olga === undefined) throw new Error('no rule');
  const when = { owner: { department: 'finance' }, use: 'decrypt', spec: undefined } as const;
  const rules = [{ ...signing, name: 'first', when }, signing];
  const said = explain(
    { ...two, rules },
    { owner: olga, spec: 'ec-p256', use: 'sign', app: 'dana' },
    enrolled,
  );
  expect(said).toMatchObject({
    considered: [
      {
        rule: 'first',
        because: ['it is for keys to decrypt', 'it is for owners whose department is finance; olga has none'],
      },
      { rule: 'signing', because: [] },
    ],
    rule: 'signing',
    quorums: [
      ['dana', 'dave'],
      ['dave', 'zed'],
    ],
    candidates: [
      { id: 'dana', keys: [PEOPLE.dana.kid], depositaryKey: FINGERPRINTS.dana, problems: [] },
      { id: 'dave', keys: [] },
      { id: 'zed' },
    ],
    missing: ['dave has no signing key, and cannot approve', 'dana is no app'],
    error: undefined,
  });
});

test('what changes is said in words, with ids and fingerprints', () => {
  const before = policy();
  const after = policy({
    zed: undefined,
    dana: { roles: ['depositary'], retired: true },
    dave: { keys: [{ ...PEOPLE.gus.jwk, alg: PEOPLE.gus.alg }] },
    gus: undefined,
  });
  expect(policyChanges(before, after)).toEqual([
    '- zed (zed; depositary, officer) is removed',
    `~ dave: loses the signing key ${PEOPLE.dave.kid}`,
    `~ dave: gets the signing key ${PEOPLE.gus.kid}`,
    '~ dave: every signing key is another: make sure that it is the same principal',
    '~ dana: loses the role officer',
    '~ dana: is retired',
  ]);
  expect(policyChanges(before, before)).toEqual([]);
});
