import type { DepositedQuorums } from '../../../src/escrow/records/depositedQuorums.js';
import type { PrincipalId } from '../../../src/escrow/records/ids.js';
import type { Principal } from '../../../src/escrow/records/principals.js';
import type { Inability } from '../../../src/escrow/rules/liveQuorums.js';
import {
  coverageOf,
  goneAmong,
  liveQuorums,
  unableInWords,
  worstOf,
} from '../../../src/escrow/rules/liveQuorums.js';
import { sha256Hex } from '../../../src/escrow/records/digests.js';
import { principal } from '../../support/escrowChain.js';

const KEY = { jwk: {}, alg: 'ES256', thumbprint: 'k' } as const;

/** Somebody who can agree, but for what is said. */
function somebody(id: string, but: Partial<Principal> = {}): Principal {
  return {
    ...{ id: principal(id), kind: 'person', name: id, roles: ['depositary'], attributes: {}, keys: [KEY] },
    ...{ certificates: [], depositaryKey: sha256Hex(id), deliveryKey: undefined, retired: false },
    ...{ returns: undefined, ...but },
  };
}

const IDS = ['dana', 'dave', 'dora'] as const;
type Id = (typeof IDS)[number];

/** What of the three differs from when the shares were made; null: nothing is left. */
interface Now {
  readonly people?: Partial<Record<Id, Partial<Principal> | null>>;
  readonly enrolled?: Partial<Record<Id, string | null>>;
}

function policyOf({ people = {} }: Now): { principals: ReadonlyMap<PrincipalId, Principal> } {
  const listed = IDS.flatMap((id) => (people[id] === null ? [] : [somebody(id, people[id] ?? {})]));
  return { principals: new Map(listed.map((one) => [one.id, one])) };
}

function enrolledIn({ enrolled = {} }: Now): ReadonlyMap<string, string> {
  return new Map(
    IDS.flatMap((id) => (enrolled[id] === null ? [] : [[id, enrolled[id] ?? sha256Hex(id)] as const])),
  );
}

function deposit(...quorums: readonly (readonly Id[])[]): DepositedQuorums {
  return {
    purpose: 'operate',
    quorums: quorums.map((members) => members.map(principal)),
    recipients: new Map(IDS.map((id) => [id, sha256Hex(id)])),
  };
}

const TWO_OF_THREE = [
  ['dana', 'dave'],
  ['dana', 'dora'],
  ['dave', 'dora'],
] as const;

const OTHER = 'ff'.repeat(32);
/** One by one: what is other than it was about dora, and why she cannot agree then; whether it is certain. */
const INABILITY: Readonly<Record<string, readonly [Now, Inability | undefined, boolean]>> = {
  nothing: [{}, undefined, false],
  'she is retired': [{ people: { dora: { retired: true } } }, undefined, false],
  'she has got another role as well': [
    { people: { dora: { roles: ['admin', 'depositary'] } } },
    undefined,
    false,
  ],
  'she is not listed': [{ people: { dora: null } }, 'not-listed', true],
  'she is of another kind': [{ people: { dora: { roles: ['owner'] } } }, 'not-depositary', true],
  'she has no role': [{ people: { dora: { roles: [] } } }, 'not-depositary', true],
  'she has no key that signs': [{ people: { dora: { keys: [] } } }, 'no-signing-key', true],
  'the token has not enrolled her': [{ enrolled: { dora: null } }, 'not-enrolled', false],
  'the token has another key of hers': [{ enrolled: { dora: OTHER } }, 'other-key', false],
  'the directory lists another key of hers': [
    { people: { dora: { depositaryKey: OTHER } } },
    'other-key',
    false,
  ],
  'the directory lists none': [{ people: { dora: { depositaryKey: undefined } } }, 'other-key', false],
  'both have another key of hers': [
    { people: { dora: { depositaryKey: OTHER } }, enrolled: { dora: OTHER } },
    'other-key',
    false,
  ],
  'the gravest is said first': [{ people: { dora: null }, enrolled: { dora: null } }, 'not-listed', true],
};

test.each(Object.entries(INABILITY))('who can agree, when %s', (_what, [now, because, isCertain]) => {
  const found = liveQuorums(deposit(...TWO_OF_THREE), policyOf(now), enrolledIn(now));
  const unable = because === undefined ? [] : [{ depositary: 'dora', because }];
  expect(found.unable).toEqual(unable);
  expect(found.live).toEqual(because === undefined ? TWO_OF_THREE : TWO_OF_THREE.slice(0, 1));
  expect(found.conceivable).toEqual(isCertain ? TWO_OF_THREE.slice(0, 1) : TWO_OF_THREE);
  expect(goneAmong(found.unable)).toEqual(isCertain ? unable : []);
});

test('a token that was not asked says nothing against anybody', () => {
  const now: Now = { enrolled: { dora: null } };
  expect(liveQuorums(deposit(...TWO_OF_THREE), policyOf(now), undefined).unable).toEqual([]);
  const listsAnother: Now = { people: { dora: { depositaryKey: OTHER } } };
  expect(liveQuorums(deposit(...TWO_OF_THREE), policyOf(listsAnother), undefined).unable).toMatchObject([
    { because: 'other-key' },
  ]);
});

test('to whose key a share went must be known to be held against anybody', () => {
  const now: Now = { people: { dora: { depositaryKey: OTHER } }, enrolled: { dora: OTHER } };
  const unknown = { ...deposit(...TWO_OF_THREE), recipients: new Map() };
  expect(liveQuorums(unknown, policyOf(now), enrolledIn(now)).unable).toEqual([]);
});

const GONE = { people: { dora: null } } as const;
test.each([
  ['anybody can be spared', deposit(...TWO_OF_THREE), {}, 'covered', []],
  ['two of three, and one has left', deposit(...TWO_OF_THREE), GONE, 'one-quorum', ['dana', 'dave']],
  ['one who must always agree', deposit(['dana', 'dave'], ['dana', 'dora']), {}, 'single-point', ['dana']],
  [
    'and one of the others has left',
    deposit(['dana', 'dave'], ['dana', 'dora']),
    GONE,
    'one-quorum',
    ['dana', 'dave'],
  ],
  ['each alone suffices', deposit(['dana'], ['dave']), GONE, 'covered', []],
  ['one alone who is there', deposit(['dana']), GONE, 'one-quorum', ['dana']],
  ['one alone who has left', deposit(['dora']), GONE, 'lost', []],
  ['all of three, and one has left', deposit(IDS), GONE, 'lost', []],
  ['no quorum at all', deposit(), {}, 'lost', []],
  ['a quorum of nobody, which is none', deposit([]), {}, 'lost', []],
] as const)('how a key is covered: %s', (_what, deposited, now, coverage, singlePoints) => {
  const found = liveQuorums(deposited, policyOf(now), enrolledIn(now));
  expect([coverageOf(found), found.singlePoints]).toEqual([coverage, singlePoints]);
});

test('a key is covered as it is for the purpose for which it is covered worst', () => {
  expect(worstOf(['covered', 'single-point'])).toBe('single-point');
  expect(worstOf(['one-quorum', 'covered', 'lost'])).toBe('lost');
  expect(worstOf([])).toBe('lost');
});

test('of many who cannot agree, the first are named', () => {
  const unable = Array.from({ length: 10 }, (_, at) => ({
    depositary: principal(`d${at}`),
    because: 'not-listed' as const,
  }));
  expect(unableInWords(unable)).toMatch(
    /^d0 is not in the directory, .* d7 is not in the directory and 2 more$/,
  );
});
