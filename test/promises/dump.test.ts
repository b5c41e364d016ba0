import type { KeyObject } from 'node:crypto';
import type { Purpose } from '../../src/escrow/records/policy.js';
import type { Known, Loot } from '../support/closure.js';
import { ClosureAttack } from '../support/closure.js';
import type { DatabaseDump } from '../support/databaseDump.js';
import { dumpDatabase } from '../support/databaseDump.js';
import type { Life } from '../support/life.js';
import { liveThrough, makeKey } from '../support/life.js';
import type { OpenedDeposit, TokenKeys } from '../support/openedDeposit.js';
import { openDeposit, tokenKeys } from '../support/openedDeposit.js';
import type { System } from '../support/system.js';
import { DEPOSITARIES, makeSystem, RULES } from '../support/system.js';
import { LIMITS_MS } from '../support/limits.js';

jest.setTimeout(LIMITS_MS.system);

/*
 * Whoever has the whole database, and any private keys, decrypts what can be decrypted, again and again until nothing
 * new opens. What that may be is computed from the rules alone.
 */
const ALL_OF_THEM = {
  name: 'all-of-them',
  when: { 'key.spec': 'ec-p384' },
  depositaries: { allOf: DEPOSITARIES.map((id) => `person:${id}`) },
  operate: { operations: ['sign'], maxUses: 100, maxDuration: 'PT24H' },
  release: { delay: 'PT0S', ownerMayVeto: true },
};

let system: System;
let life: Life;
let dump: DatabaseDump;
let attack: ClosureAttack;
let token: TokenKeys;
let people: ReadonlyMap<string, KeyObject>;
let opened: readonly OpenedDeposit[];
let forAll: string;

beforeAll(async () => {
  system = await makeSystem();
  await system.applyRules([ALL_OF_THEM, ...RULES]);
  life = await liveThrough(system);
  forAll = (await makeKey(system, { spec: 'ec-p384', use: 'sign' })).key;
  dump = await dumpDatabase(system);
  attack = new ClosureAttack(dump);
  token = tokenKeys(system.hsm);
  people = new Map(
    await Promise.all(
      DEPOSITARIES.map(async (id) => [id, await system.identity(id).depositaryKey()] as const),
    ),
  );
  opened = dump.deposits.flatMap((deposit) => openDeposit(deposit, people, token));
});

afterAll(() => system.remove());

const SUBSETS = [[], ['manager'], ['officer-1'], ['officer-2'], ['manager', 'officer-1']].concat([
  ['manager', 'officer-2'],
  ['officer-1', 'officer-2'],
  ['manager', 'officer-1', 'officer-2'],
]);
/** Which of the token's own keys are known. None of them can be had from a token that keeps its keys. */
const TOKEN_PARTS = ['nothing', 'key-encryption keys', 'server-for keys', 'both'] as const;
const CASES = SUBSETS.flatMap((members) => TOKEN_PARTS.map((part) => ({ members, part })));

test.each(CASES)('with the keys of $members, and $part of the token, opens what the rules say', (given) => {
  const { members, part } = given;
  const hasServerFor = part === 'server-for keys' || part === 'both';
  const hasKeks = part === 'key-encryption keys' || part === 'both';
  const known = {
    rsa: [...keysOf(members), ...(hasServerFor ? token.serverFor.values() : [])],
    aes: hasKeks ? [...token.keks.values()] : [],
  };
  const isQuorum = (key: string): boolean => members.length >= (key === forAll ? 3 : 2);
  // what was released to the manager is theirs: it stays encrypted to their key
  const released = members.includes('manager') ? life.releases.map(({ key }) => key) : [];
  expect(readLoot(attack.lootOf(known))).toEqual({
    r: namesOf((deposit) => members.map((id) => name(deposit, id))),
    l: namesOf((deposit) => (hasServerFor ? members.map((id) => name(deposit, id)) : [])),
    wrapped: namesOf((deposit) => (hasServerFor && isQuorum(deposit.key) ? [name(deposit)] : [])),
    user: namesOf(({ key }) =>
      (hasServerFor && hasKeks && isQuorum(key)) || released.includes(key) ? [key] : [],
    ),
  });
});

test("the owner's delivery key opens the owner's own copies and nothing else", async () => {
  const loot = attack.lootOf({ rsa: [await system.identity('owner').deliveryKey()], aes: [] });
  const copied = [life.decrypting.key, life.secret.key].sort();
  expect(readLoot(loot)).toEqual({ r: [], l: [], wrapped: [], user: copied });
});

test('an approval that was given counts, for its key and purpose only, and only while its request is open', () => {
  const everything = {
    rsa: [...keysOf(['officer-1']), ...token.serverFor.values(), ...token.transports.values()],
    aes: [...token.keks.values()],
  };
  expect([...token.transports.keys()]).toEqual([life.pending]);
  expect(readLoot(attack.lootOf(everything)).user).toEqual([life.signing.key]);
});

test('R and L are never the same for two keys, two purposes or two depositaries', () => {
  const all = opened.flatMap(({ r, l }) =>
    [...r.values(), ...l.values()].map((secret) => secret.toString('hex')),
  );
  expect(opened).toHaveLength(7);
  expect(new Set(all).size).toBe(7 * 2 * DEPOSITARIES.length);
});

interface Reached {
  readonly r: readonly string[];
  readonly l: readonly string[];
  /** C */
  readonly wrapped: readonly string[];
  /** U, by key */
  readonly user: readonly string[];
}

/** Which of the real secrets are in the loot. */
function readLoot(loot: Loot): Reached {
  const has = (bytes: Buffer | undefined): boolean => bytes !== undefined && loot.has(bytes.toString('hex'));
  const held = (of: (deposit: OpenedDeposit) => ReadonlyMap<string, Buffer>): readonly string[] =>
    namesOf((deposit) =>
      DEPOSITARIES.filter((id) => has(of(deposit).get(id))).map((id) => name(deposit, id)),
    );
  return {
    r: held(({ r }) => r),
    l: held(({ l }) => l),
    wrapped: namesOf((deposit) => (has(deposit.wrapped) ? [name(deposit)] : [])),
    user: namesOf((deposit) => (has(deposit.user) ? [deposit.key] : [])),
  };
}

function namesOf(of: (deposit: OpenedDeposit) => readonly string[]): readonly string[] {
  return [...new Set(opened.flatMap(of))].sort();
}

function name({ key, purpose }: { readonly key: string; readonly purpose: Purpose }, whose = ''): string {
  return `${key} ${purpose} ${whose}`;
}

function keysOf(members: readonly string[]): Known['rsa'] {
  return members.flatMap((id) => people.get(id) ?? []);
}
