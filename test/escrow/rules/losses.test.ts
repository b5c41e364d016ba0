import type { DepositGroup } from '../../../src/escrow/records/depositedQuorums.js';
import type { Losses } from '../../../src/escrow/rules/losses.js';
import { lossesOf } from '../../../src/escrow/rules/losses.js';
import { principal } from '../../support/escrowChain.js';
import { person, policyWith, POLICY } from '../../adversary/database/scene.js';

type Sets = readonly (readonly string[])[];

function group(keys: number, operate: Sets, release: Sets = operate): DepositGroup {
  const purposes = [
    { purpose: 'operate' as const, sets: operate },
    { purpose: 'release' as const, sets: release },
  ].map(({ purpose, sets }) => ({
    purpose,
    quorums: sets.map((members) => members.map(principal)),
    recipients: new Map(['dana', 'dave', 'dora'].map((id) => [id, person(id).depositaryKey ?? ''])),
  }));
  return { keys, purposes };
}

/** Nothing is said of the token. */
const OUT = { enrolled: undefined, keks: undefined };
const TWO_OF_THREE = [
  ['dana', 'dave'],
  ['dana', 'dora'],
  ['dave', 'dora'],
];
const DANA_AND_ONE = TWO_OF_THREE.slice(0, 2);
const NOBODY = { removed: [] };
const DORA = { removed: ['dora'] };
const BOTH = { removed: ['dave', 'dora'] };

/** What is done to whom: keys that are lost, left with one quorum, or with a single point; and purposes that are worse. */
const CASES: readonly (readonly [
  string,
  DepositGroup,
  Parameters<typeof policyWith>[0],
  readonly number[],
])[] = [
  ['nobody is removed', group(5, TWO_OF_THREE), NOBODY, [0, 0, 0, 0]],
  ['one of three is', group(5, TWO_OF_THREE), DORA, [0, 5, 0, 2]],
  ['two of three are', group(5, TWO_OF_THREE), BOTH, [5, 0, 0, 2]],
  ['it was of somebody else', group(5, [['dana']]), BOTH, [0, 0, 0, 0]],
  ['one of each alone', group(5, [['dana'], ['dave'], ['dora']]), DORA, [0, 0, 0, 0]],
  ['one who is in no last quorum', group(5, DANA_AND_ONE), DORA, [0, 5, 0, 2]],
  [
    'it depended on one before, and still does',
    group(5, [...DANA_AND_ONE, ['bob', 'dana']]),
    DORA,
    [0, 5, 0, 2],
  ],
  [
    'several are left, and one is in each',
    group(5, [...DANA_AND_ONE, ['dave', 'dora'], ['dana', 'mailer']]),
    { removed: ['dora'], changed: [{ ...person('mailer'), roles: ['depositary'], depositaryKey: 'ff' }] },
    [0, 0, 5, 2],
  ],
  ['one purpose only', group(5, TWO_OF_THREE, [['dave', 'dora']]), { removed: ['dora'] }, [5, 0, 0, 2]],
  ['the purpose that is worst counts', group(5, [['dana']], [['dora']]), DORA, [5, 0, 0, 1]],
  [
    'somebody is retired',
    group(5, TWO_OF_THREE),
    { changed: [{ ...person('dora'), retired: true }] },
    [0, 0, 0, 0],
  ],
  [
    'somebody has no key',
    group(5, TWO_OF_THREE),
    { changed: [{ ...person('dora'), keys: [] }] },
    [0, 5, 0, 2],
  ],
  [
    'somebody has other keys that sign',
    group(5, TWO_OF_THREE),
    { changed: [person('dora', 'new')] },
    [0, 0, 0, 0],
  ],
  [
    'somebody has another depositary key',
    group(5, [['dana', 'dora']]),
    { changed: [{ ...person('dora'), depositaryKey: 'ff' }] },
    [5, 0, 0, 2],
  ],
];

function counts({ lost, oneQuorum, singlePoint, groups }: Losses): readonly number[] {
  return [lost, oneQuorum, singlePoint, groups.flatMap(({ losses }) => losses).length];
}

test.each(CASES)('what becomes of keys when %s', (_what, deposited, change, expected) => {
  expect(counts(lossesOf([deposited], POLICY, policyWith(change), OUT))).toEqual(expected);
});

test('what was lost before is not lost again, and what comes back is no loss', () => {
  const gone = policyWith(BOTH);
  expect(counts(lossesOf([group(5, TWO_OF_THREE)], gone, gone, OUT))).toEqual([0, 0, 0, 0]);
  expect(counts(lossesOf([group(5, TWO_OF_THREE)], gone, POLICY, OUT))).toEqual([0, 0, 0, 0]);
});

test('keys of several groups are counted together, each as it is left', () => {
  const groups = [group(2, TWO_OF_THREE), group(3, [['dora']]), group(4, [['dana']])];
  expect(counts(lossesOf(groups, POLICY, policyWith(DORA), OUT))).toEqual([3, 2, 0, 4]);
});

test('what lies under a key-encryption key that the token does not hold is lost already, and by no policy', () => {
  const under = (purpose: string, kek: string): DepositGroup => {
    const { keys, purposes } = group(5, TWO_OF_THREE);
    return { keys, purposes: purposes.map((one) => (one.purpose === purpose ? { ...one, kek } : one)) };
  };
  const held = { ...OUT, keks: [{ label: 'kek:operate:sign:v2', hasRotatingHandle: true }] };
  const left = (of: DepositGroup, inToken: Parameters<typeof lossesOf>[3]): readonly number[] =>
    counts(lossesOf([of], POLICY, policyWith(BOTH), inToken));
  const gone = under('operate', 'kek:operate:sign:v1');
  // for its other purpose it is lost by the policy
  expect(left(gone, held)).toEqual([5, 0, 0, 1]);
  const both = { ...gone, purposes: gone.purposes.filter(({ purpose }) => purpose === 'operate') };
  expect(left(both, held)).toEqual([0, 0, 0, 0]);
  // the controls: it holds it, or is out
  expect(left(under('operate', 'kek:operate:sign:v2'), held)).toEqual([5, 0, 0, 2]);
  expect(left(both, OUT)).toEqual([5, 0, 0, 1]);
});
