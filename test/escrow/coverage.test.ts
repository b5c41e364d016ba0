import { generateKey } from '../../src/escrow/acts/generateKey.js';
import { planPolicy } from '../../src/escrow/acts/applyPolicy.js';
import type { EnrolledDepositary } from '../../src/escrow/ports/token.js';
import { sha256Hex } from '../../src/escrow/records/digests.js';
import { EscrowError } from '../../src/escrow/records/errors.js';
import type { PrincipalId } from '../../src/escrow/records/ids.js';
import type { Policy, QuorumExpression } from '../../src/escrow/records/policy.js';
import type { Principal } from '../../src/escrow/records/principals.js';
import type { CoveragePage } from '../../src/escrow/reads/coverage.js';
import { listCoverage } from '../../src/escrow/reads/coverage.js';
import { listLosingKeys } from '../../src/escrow/reads/losses.js';
import type { LogFacts } from '../../src/escrow/logged/logFacts.js';
import type { DepositRow } from '../../src/postgres/rows.js';
import { toDeposit, toDocument } from '../../src/postgres/rows.js';
import { encodeEntry } from '../../src/log/entry/entry.js';
import { person, POLICY } from '../adversary/database/scene.js';
import { callBy } from '../support/calls.js';
import type { Chance } from '../support/chance.js';
import { chance } from '../support/chance.js';
import { LIMITS_MS } from '../support/limits.js';
import type { Recomputed } from './independentCoverage.js';
import { recomputedCoverage, saidCoverage } from './independentCoverage.js';
import type { SymbolicWorld } from './symbolicWorld.js';
import { symbolicWorld } from './symbolicWorld.js';

jest.setTimeout(LIMITS_MS.drawn);

const PEOPLE = ['dana', 'dave', 'dora', 'dina', 'doug', 'duke'];
const OWNERS = ['olga', 'otto', 'omar'];

function depositary(id: string, roles: readonly string[]): Principal {
  return { ...person(id), roles: ['depositary', ...roles], depositaryKey: sha256Hex(id) };
}

/** Somebody of the six, a group of them, or an expression over such. */
function expression({ below, shuffled }: Chance, depth: number): QuorumExpression {
  const one = (): QuorumExpression => ({ person: (shuffled(PEOPLE)[0] ?? '') as PrincipalId });
  const kind = below(depth === 0 ? 2 : 5);
  if (kind === 0) return one();
  if (kind === 1) return { role: ['red', 'blue'][below(2)] ?? 'red' };
  const of = Array.from({ length: 2 + below(2) }, () => expression({ below, shuffled } as Chance, depth - 1));
  if (kind === 2) return { allOf: of };
  return kind === 3 ? { anyOf: of } : { atLeast: 1 + below(of.length), of };
}

/** A policy as it may be drawn: who is in which group, and who decides. */
function drawnPolicy(draw: Chance, version: number): Policy {
  const people = PEOPLE.map((id) =>
    depositary(
      id,
      ['red', 'blue'].filter(() => draw.below(2) === 0),
    ),
  );
  const owners = OWNERS.map((id) => ({ ...person(id), roles: ['owner'] }));
  const staff = ['ann', 'bob'].map((id) => person(id));
  const [rule] = POLICY.rules;
  if (rule === undefined) throw new Error('no rule');
  return {
    ...{ ...POLICY, version, hash: sha256Hex(`drawn ${version}`) },
    principals: new Map([...people, ...owners, ...staff].map((one) => [one.id, one])),
    rules: [{ ...rule, name: `rule-${version}`, depositaries: expression(draw, 2) }],
  };
}

/** The same policy after people have come, gone, and got other roles and keys. */
function driftedFrom(policy: Policy, draw: Chance): Policy {
  const changes: readonly ((one: Principal) => readonly Principal[])[] = [
    () => [],
    (one) => [{ ...one, roles: ['owner'] }],
    (one) => [{ ...one, keys: [] }],
    (one) => [{ ...one, retired: true }],
    (one) => [{ ...one, depositaryKey: 'ff'.repeat(32) }],
    (one) => [{ ...one, depositaryKey: undefined }],
  ];
  const principals = [...policy.principals.values()].flatMap((one) => {
    if (!PEOPLE.includes(one.id) || draw.below(3) > 0) return [one];
    return changes[draw.below(changes.length)]?.(one) ?? [];
  });
  const version = policy.version + 1;
  return {
    ...{ ...policy, version, hash: sha256Hex(`drifted ${version}`) },
    principals: new Map(principals.map((one) => [one.id, one])),
  };
}

interface Drawn {
  readonly world: SymbolicWorld;
  /** What the token has enrolled now. */
  readonly enrolled: Readonly<Record<string, string>>;
}

/** Keys by several drawn policies, then people who come and go, in the directory and in the token. */
async function drawnWorld(seed: number): Promise<Drawn> {
  const draw = chance(`coverage ${seed}`);
  const world = symbolicWorld(drawnPolicy(draw, 1), PEOPLE);
  for (let version = 2; version < 7; version += 1) {
    for (const owner of OWNERS) {
      const call = callBy(person('ann'), world.policy);
      const order = { owner, spec: 'rsa-2048', use: 'sign', label: `of ${owner}`, deliver: false } as never;
      // a drawn rule may be one that nobody can satisfy
      await generateKey(world.escrow, call, order).catch((error: unknown) => {
        if (!(error instanceof EscrowError)) throw error;
      });
    }
    world.policy = drawnPolicy(draw, version);
  }
  world.policy = driftedFrom(world.policy, draw);
  const left = PEOPLE.flatMap((id): readonly EnrolledDepositary[] => {
    const fate = draw.below(8);
    if (fate === 0) return [];
    const fingerprint = fate === 1 ? 'ee'.repeat(32) : sha256Hex(id);
    return [{ id: id as PrincipalId, publicKey: Buffer.from(id), fingerprint }];
  });
  world.escrow.token.enrolled = () => Promise.resolve(left);
  return { world, enrolled: Object.fromEntries(left.map(({ id, fingerprint }) => [id, fingerprint])) };
}

async function allPages(world: SymbolicWorld, by: string, limit: number): Promise<readonly CoveragePage[]> {
  const pages: CoveragePage[] = [];
  let after: string | undefined;
  do {
    const page = await listCoverage(world.escrow, { caller: person(by) }, { after, limit });
    pages.push(page);
    after = page.next;
  } while (after !== undefined);
  return pages;
}

function said(pages: readonly CoveragePage[]): readonly Recomputed[] {
  return saidCoverage(
    pages.flatMap(({ items }) =>
      items.map(({ deposit, purposes }) => ({
        ...{ key: deposit.key, owner: deposit.owner, rule: deposit.rule.name, purposes },
      })),
    ),
  );
}

function recomputed({ world, enrolled }: Drawn, policy = world.policy): readonly Recomputed[] {
  const log = world.entries.map((entry) => Buffer.from(encodeEntry(entry)).toString('utf8'));
  return recomputedCoverage(log, [...policy.principals.values()], enrolled);
}

const SEEDS = Array.from({ length: 60 }, (_, at) => at);
const seen = { lost: 0, live: 0, single: 0 };

test.each(SEEDS)(
  'coverage is what the log and the directory say, worked out independently: %d',
  async (seed) => {
    const drawn = await drawnWorld(seed);
    const pages = await allPages(drawn.world, 'ann', 4);
    const expected = recomputed(drawn);
    expect(said(pages)).toEqual(expected);
    // keys that are lost for one purpose are lost for both here: their quorums are the same
    const lost = new Set(expected.filter(({ live }) => live.length === 0).map(({ key }) => key));
    const keys = new Set(expected.map(({ key }) => key));
    expect(pages[0]?.totals).toMatchObject({ keys: keys.size, lost: lost.size });
    for (const { live, singlePoints } of expected) {
      seen.lost += live.length === 0 ? 1 : 0;
      seen.live += live.length > 0 ? 1 : 0;
      seen.single += singlePoints.length > 0 ? 1 : 0;
    }
  },
);

test('all of it was drawn: keys that are lost, and keys that are not', () => {
  expect(Math.min(seen.lost, seen.live, seen.single)).toBeGreaterThan(20);
});

test.each(SEEDS.slice(0, 30))(
  'what a policy loses is what is lost after it and was not before: %d',
  async (seed) => {
    const drawn = await drawnWorld(seed);
    const { world } = drawn;
    const next = driftedFrom(world.policy, chance(`next of ${seed}`));
    const planned = await planPolicy(world.escrow, () => next, {});
    const lostIn = (policy: Policy): Set<string> =>
      new Set(
        recomputed(drawn, policy)
          .filter(({ live }) => live.length === 0)
          .map(({ key }) => key),
      );
    const before = lostIn(world.policy);
    const newly = [...lostIn(next)].filter((key) => !before.has(key)).sort();
    expect(planned.losses.lost).toBe(newly.length);
    const named: string[] = [];
    for (let after: string | undefined; ;) {
      const page = await listLosingKeys(world.escrow, planned, { after, limit: 3 });
      for (const { deposit, losses } of page.items)
        if (losses.some((loss) => loss.after === 'lost')) named.push(deposit.key);
      after = page.next;
      if (after === undefined) break;
    }
    expect(named.sort()).toEqual(newly);
  },
);

test('owners are told of their own keys, and of no totals', async () => {
  const { world } = await drawnWorld(1);
  for (const owner of OWNERS) {
    world.policy = { ...world.policy };
    const pages = await listCoverage(
      world.escrow,
      { caller: { ...person(owner), roles: ['owner'] } },
      {
        after: undefined,
        limit: 200,
      },
    );
    expect(new Set(pages.items.map(({ deposit }) => deposit.owner)).size).toBeLessThanOrEqual(1);
    expect(pages.items.every(({ deposit }) => deposit.owner === owner)).toBe(true);
    expect(pages.totals).toBeUndefined();
  }
});

test('a key that is born while a page is read is none that has no record', async () => {
  const world = symbolicWorld(POLICY, ['dana', 'dave', 'dora']);
  const order = { owner: 'olga', spec: 'rsa-2048', use: 'sign', label: '', deliver: false } as never;
  const make = (): Promise<unknown> => generateKey(world.escrow, callBy(person('ann'), world.policy), order);
  await make();
  const { store } = world.escrow;
  const read = store.deposits.bind(store);
  store.deposits = async (...given) => {
    const found = await read(...given);
    await make();
    return found;
  };
  const [page] = await allPages(world, 'ann', 200);
  expect([page?.items.length, page?.totals?.keys]).toEqual([1, 1]);
  store.deposits = read;
  const [after] = await allPages(world, 'ann', 200);
  expect([after?.items.length, after?.totals?.keys]).toEqual([2, 2]);
});

describe('against who has the database', () => {
  const one = async (world: SymbolicWorld): Promise<CoveragePage> =>
    listCoverage(world.escrow, { caller: person('ann') }, { after: undefined, limit: 200 });
  /** A world in which the last of two depositaries has left, and of whose only key nobody can be asked. */
  const lostWorld = async (): Promise<SymbolicWorld> => {
    const world = symbolicWorld(POLICY, ['dana', 'dave', 'dora']);
    const order = { owner: 'olga', spec: 'rsa-2048', use: 'sign', label: '', deliver: false } as never;
    await generateKey(world.escrow, callBy(person('ann'), world.policy), order);
    const principals = new Map(POLICY.principals);
    for (const id of ['dave', 'dora']) principals.delete(id as PrincipalId);
    world.policy = { ...POLICY, version: 2, principals };
    return world;
  };

  test('a row that says of a lost key that dana alone suffices is not believed', async () => {
    const world = await lostWorld();
    const [deposit] = world.deposits.values();
    if (deposit === undefined) throw new Error('no key');
    expect((await one(world)).items).toMatchObject([{ coverage: 'lost', isAsLogged: true }]);
    const dana = ['dana' as PrincipalId];
    const purposes = deposit.purposes.map((purpose) => ({
      ...purpose,
      quorums: purpose.quorums.slice(0, 1).map((quorum) => ({ ...quorum, members: dana })),
    }));
    world.deposits.set(deposit.key, { ...deposit, purposes });
    const page = await one(world);
    expect(page.items).toMatchObject([{ coverage: 'lost', isAsLogged: false }]);
    expect(page.totals).toMatchObject({ keys: 1, lost: 1 });
    // the control: where rows are believed, it is covered
    expect(page.items[0]?.purposes.map(({ live }) => live)).toEqual([[dana], [dana]]);
  });

  test('a key whose row is gone is counted still, by the log', async () => {
    const world = await lostWorld();
    world.deposits.clear();
    const page = await one(world);
    expect([page.items, page.totals]).toMatchObject([[], { keys: 1, lost: 1 }]);
    // the control: where the log says nothing of it, nobody hears of it
    world.facts = Object.assign(Object.create(world.facts) as LogFacts, { depositGroups: () => [] });
    expect((await one(world)).totals).toMatchObject({ keys: 0, lost: 0 });
  });

  test('the row of a covered key in the place of a lost one’s is not believed, and does not count for it', async () => {
    const world = symbolicWorld(POLICY, ['dana', 'dave', 'dora']);
    const order = { owner: 'olga', spec: 'rsa-2048', use: 'sign', label: '', deliver: false } as never;
    await generateKey(world.escrow, callBy(person('ann'), world.policy), order);
    const [lost] = world.deposits.values();
    const [rule] = POLICY.rules;
    if (lost === undefined || rule === undefined) throw new Error('no key');
    const byDana = { ...rule, depositaries: { person: 'dana' as PrincipalId } };
    world.policy = { ...POLICY, version: 2, rules: [byDana] };
    await generateKey(world.escrow, callBy(person('ann'), world.policy), order);
    const covered = [...world.deposits.values()].find(({ key }) => key !== lost.key);
    if (covered === undefined) throw new Error('no second key');
    const principals = new Map(POLICY.principals);
    for (const id of ['dave', 'dora']) principals.delete(id as PrincipalId);
    world.policy = { ...world.policy, version: 3, principals };
    const document = JSON.parse(toDocument(covered)) as DepositRow['document'];
    // the control: in its own row it is as logged
    world.deposits.set(covered.key, toDeposit({ key: covered.key, document }));
    // as it was copied, and with the name of the key in whose row it stands
    for (const key of [covered.key, lost.key]) {
      world.deposits.set(lost.key, toDeposit({ key: lost.key, document: { ...document, key } }));
      const page = await one(world);
      const said = page.items.map(({ deposit, isAsLogged, coverage }) => ({
        ...{ key: deposit.key, isAsLogged, coverage },
      }));
      expect(said).toHaveLength(2);
      expect(said).toContainEqual({ key: lost.key, isAsLogged: false, coverage: 'lost' });
      expect(said).toContainEqual({ key: covered.key, isAsLogged: true, coverage: 'one-quorum' });
      expect(page.totals).toMatchObject({ keys: 2, lost: 1 });
    }
  });

  test('nor does a row keep a policy from losing keys that nobody has accepted to lose', async () => {
    const world = symbolicWorld(POLICY, ['dana', 'dave', 'dora']);
    const order = { owner: 'olga', spec: 'rsa-2048', use: 'sign', label: '', deliver: false } as never;
    await generateKey(world.escrow, callBy(person('ann'), world.policy), order);
    world.deposits.clear();
    const principals = new Map(POLICY.principals);
    for (const id of ['dave', 'dora']) principals.delete(id as PrincipalId);
    const next = { ...POLICY, version: 2, principals };
    expect((await planPolicy(world.escrow, () => next, {})).losses.lost).toBe(1);
  });
});
