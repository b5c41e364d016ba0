import { depositedQuorums } from '../../../src/escrow/records/depositedQuorums.js';
import type { PrincipalId } from '../../../src/escrow/records/ids.js';
import type { Change } from '../../../src/escrow/ports/journal.js';
import type { Page } from '../../../src/escrow/ports/store.ts';
import type { Database } from '../../../src/postgres/database.js';
import type { Pool } from '../../../src/postgres/pool.js';
import { forgetExpiredRequests } from '../../../src/postgres/store/store.js';
import { startTestServer, query, type TestServer } from '../../support/postgres.js';
import { softwareSigner } from '../../support/signer.js';
import { clock, openOn } from '../fixtures.js';
import {
  aDeposit,
  aGrant,
  anna,
  aRecovery,
  dieter,
  dora,
  everyState,
  mailApp,
  person,
  writeOf,
} from '../records.js';
import { LIMITS_MS } from '../../support/limits.js';

jest.setTimeout(LIMITS_MS.database);

let server: TestServer;
let database: Database;

beforeAll(async () => {
  server = await startTestServer();
});
beforeEach(async () => {
  await server.reset();
  database = await openOn(server, softwareSigner());
});
afterEach(() => database.close());
afterAll(() => server.stop());

async function record(...changes: readonly Change[]): Promise<void> {
  await database.journal.append(writeOf('alone', { changes }));
}

/** All items of a list, read in pages of `limit`. */
async function all<T>(
  limit: number,
  read: (page: { after: string | undefined; limit: number }) => Promise<Page<T>>,
): Promise<readonly T[]> {
  const items: T[] = [];
  let after: string | undefined;
  do {
    const page = await read({ after, limit });
    expect(page.items.length).toBeLessThanOrEqual(limit);
    items.push(...page.items);
    after = page.next;
  } while (after !== undefined);
  return items;
}

describe('what is read is what was written', () => {
  it('of a deposit', async () => {
    const deposit = aDeposit();
    await record({ change: 'deposit-created', deposit });
    expect(await database.store.findDeposit(deposit.key)).toStrictEqual(deposit);
  });

  it('of a deposit with as little as there can be', async () => {
    const deposit = aDeposit({
      publicKey: undefined,
      operate: undefined,
      release: undefined,
      ownersCopy: undefined,
      purposes: [],
      requesters: [],
    });
    await record({ change: 'deposit-created', deposit });
    expect(await database.store.findDeposit(deposit.key)).toStrictEqual(deposit);
  });

  it.each(everyState().map((state) => [state.status, state] as const))(
    'of a recovery that is %s',
    async (_, state) => {
      const recovery = aRecovery({ state, asked: { purpose: 'release', recipient: dora } });
      await record({ change: 'recovery-saved', recovery });
      expect(await database.store.findRecovery(recovery.id)).toStrictEqual(recovery);
      const next = aRecovery({ ...recovery, revision: 2, approvals: [], denials: [] });
      await record({ change: 'recovery-saved', recovery: next });
      expect(await database.store.findRecovery(recovery.id)).toStrictEqual(next);
    },
  );

  it('of a grant, with its uses and its end', async () => {
    const grant = aGrant();
    await record({ change: 'grant-created', grant });
    expect(await database.store.findGrant(grant.id)).toStrictEqual(grant);
    const claim = { claim: 'uses-counted', grant: grant.id, uses: 2, at: grant.startsAt } as const;
    await database.journal.append(writeOf('opens', { claims: [claim] }));
    await record({ change: 'grant-ended', grant: grant.id, status: 'exhausted' });
    expect(await database.store.findGrant(grant.id)).toStrictEqual({
      ...grant,
      used: 2,
      status: 'exhausted',
    });
  });

  it('of policies', async () => {
    expect(await database.store.policyVersion()).toBe(0);
    const policies = [1, 2].map((version) => ({
      version,
      hash: `h${version}`,
      document: `{ "v": ${version} }\n`,
      signatures: [`a${version}.b.c`, `d${version}."e",{f}`],
      appliedAt: new Date(version * 1000),
    }));
    for (const { appliedAt: at, ...policy } of policies)
      await record({ change: 'policy-applied', ...policy, at });
    expect(await database.store.policyVersion()).toBe(2);
    expect(await database.store.policies(1, 9)).toStrictEqual(policies.slice(1));
    expect(await database.store.policies(0, 9)).toStrictEqual(policies);
    expect(await database.store.policies(0, 1)).toStrictEqual(policies.slice(0, 1));
  });

  it('of policies page by page, the documents oldest first and the history newest first', async () => {
    const applied = [1, 2, 3].map((version) => ({
      version,
      hash: `h${version}`,
      signatures: ['a.b.c'],
      appliedAt: new Date(version * 1000),
    }));
    const documents = applied.map((policy) => ({ ...policy, document: `{"v":${policy.version}}` }));
    for (const { appliedAt: at, ...policy } of documents)
      await record({ change: 'policy-applied', ...policy, at });
    const { store } = database;
    const first = await store.policyDocuments({ after: undefined, limit: 2 });
    expect(first.items).toStrictEqual(documents.slice(0, 2));
    expect(await store.policyDocuments({ after: first.next, limit: 2 })).toStrictEqual({
      items: documents.slice(2),
      next: undefined,
    });
    const newest = await store.policyHistory({ after: undefined, limit: 1 });
    expect(newest.items).toStrictEqual(applied.slice(2));
    expect(await store.policyHistory({ after: newest.next, limit: 2 })).toStrictEqual({
      items: applied.slice(0, 2).reverse(),
      next: undefined,
    });
    const forged = Buffer.from(JSON.stringify([Number.MAX_SAFE_INTEGER])).toString('base64url');
    for (const after of [
      'x',
      forged,
      Buffer.from('["1"]').toString('base64url'),
      Buffer.from('[0,1]').toString('base64url'),
    ]) {
      await expect(store.policyDocuments({ after, limit: 1 })).rejects.toMatchObject({
        code: 'request-malformed',
      });
      await expect(store.policyHistory({ after, limit: 1 })).rejects.toMatchObject({
        code: 'request-malformed',
      });
    }
  });

  it('and nothing where nothing was', async () => {
    expect(await database.store.findDeposit(aDeposit().key)).toBeUndefined();
    expect(await database.store.findRecovery(aRecovery().id)).toBeUndefined();
    expect(await database.store.findGrant(aGrant().id)).toBeUndefined();
  });
});

describe('a list', () => {
  it('of deposits is newest first, whole in pages of any size, and of its owner and depositary together', async () => {
    const bert = person('bert');
    const deposits = Array.from({ length: 11 }, (_, at) =>
      // Several of the same instant: the id decides.
      aDeposit({
        owner: at % 3 === 0 ? bert : anna,
        createdAt: new Date(Date.UTC(2026, 0, 1 + Math.floor(at / 4))),
      }),
    );
    const unshared = aDeposit({ owner: bert, purposes: [], createdAt: new Date(Date.UTC(2025, 0, 1)) });
    for (const deposit of [...deposits, unshared]) await record({ change: 'deposit-created', deposit });
    const order = [...deposits, unshared]
      .sort((a, b) => b.createdAt.getTime() - a.createdAt.getTime() || (a.key < b.key ? 1 : -1))
      .map(({ key }) => key);
    for (const limit of [1, 3, 4, 12, 200]) {
      const read = await all(limit, (page) => database.store.deposits({}, page));
      expect(read.map(({ key }) => key)).toEqual(order);
    }
    const countOf = async (of: Parameters<Database['store']['deposits']>[0]): Promise<number> =>
      (await all(2, (page) => database.store.deposits(of, page))).length;
    expect(await countOf({ owner: bert })).toBe(5);
    expect(await countOf({ depositary: dora })).toBe(11);
    expect(await countOf({ owner: bert, depositary: dora })).toBe(12);
    expect(await countOf({ owner: dora, depositary: bert })).toBe(0);
  });

  it('of recoveries is of whoever has a part in them, the depositaries of the key among them', async () => {
    const deposit = aDeposit();
    await record({ change: 'deposit-created', deposit });
    const recovery = aRecovery({ keys: [deposit.key], approvals: [], denials: [] });
    await record(
      { change: 'recovery-saved', recovery },
      { change: 'recovery-saved', recovery: aRecovery({ owner: mailApp }) },
    );
    const idsOf = async (name: string): Promise<readonly string[]> => {
      const page = await database.store.recoveries(
        { participant: person(name) },
        { after: undefined, limit: 9 },
      );
      return page.items.map(({ id }) => id);
    };
    for (const name of ['anna']) expect(await idsOf(name)).toEqual([recovery.id]);
    for (const name of ['rita', 'mail-app', 'dora', 'dieter'])
      expect(await idsOf(name)).toContain(recovery.id);
    expect(await idsOf('bert')).toEqual([]);
    await record({ change: 'recovery-saved', recovery: { ...recovery, revision: 2 } });
    for (const name of ['rita', 'mail-app', 'dora', 'dieter'])
      expect(await idsOf(name)).toContain(recovery.id);
    const read = await all(1, (page) => database.store.recoveries({}, page));
    expect(read).toHaveLength(2);
  });

  it('of open recoveries has those that have not ended', async () => {
    for (const state of everyState())
      await record({ change: 'recovery-saved', recovery: aRecovery({ state }) });
    const open = await database.store.openRecoveries();
    expect(open.map(({ state }) => state.status).sort()).toEqual(['approved', 'pending']);
  });

  it('of grants is of the owner, the app and the depositaries', async () => {
    const deposit = aDeposit();
    await record({ change: 'deposit-created', deposit });
    const grants = [aGrant({ key: deposit.key }), aGrant({ owner: dieter }), aGrant({ status: 'expired' })];
    for (const grant of grants) await record({ change: 'grant-created', grant });
    const idsOf = async (participant: PrincipalId): Promise<readonly string[]> =>
      (await all(1, (page) => database.store.grants({ participant }, page))).map(({ id }) => id).sort();
    const ids = (...which: readonly number[]): readonly string[] =>
      grants.flatMap(({ id }, index) => (which.includes(index) ? [id] : [])).sort();
    expect(await idsOf(anna)).toEqual(ids(0, 2));
    expect(await idsOf(mailApp)).toEqual(ids(0, 1, 2));
    expect(await idsOf(dora)).toEqual(ids(0));
    expect(await idsOf(dieter)).toEqual(ids(0, 1));
    expect(await all(2, (page) => database.store.grants({}, page))).toHaveLength(3);
  });

  it('does not begin at a cursor that was not given out', async () => {
    const cursors = [
      '',
      'x',
      '[]',
      '["a","b"]',
      '[1]',
      '[1e99,"a"]',
      '[0.5,"a"]',
      '[-1,"a"]',
      '[8640000000000000,"a"]',
      '[1,"\\u0000"]',
      '{"0":1}',
      'null',
    ].map((text) => Buffer.from(text).toString('base64url'));
    for (const after of [...cursors, '*', '\0']) {
      await expect(database.store.deposits({}, { after, limit: 1 })).rejects.toMatchObject({
        code: 'request-malformed',
      });
    }
    const ofAnotherList = Buffer.from('[1,"a"]').toString('base64url');
    await expect(database.log.entriesAbout({}, { after: ofAnotherList, limit: 1 })).rejects.toMatchObject({
      code: 'request-malformed',
    });
  });
});

it('a request that only reads is seen once, of 20 at once, and by the journal as well', async () => {
  const request = { kid: 'kid', jti: 'jti', expiresAt: new Date('2100-01-01') };
  const seen = await Promise.all(Array.from({ length: 20 }, () => database.store.seeOnce(request)));
  expect(seen.filter((first) => first)).toHaveLength(1);
  await expect(
    database.journal.append(writeOf('opens', { claims: [{ claim: 'request-unused', ...request }] })),
  ).rejects.toMatchObject({ what: 'request-unused' });
});

describe('requests and Idempotency-Keys that expired long ago', () => {
  const expired = new Date(Date.now() - 11 * 60_000);
  const pool = {
    ask: async <Row>(sql: string, bound: readonly unknown[] = []) => asked<Row & object>(sql, bound),
  } as Pool;

  /** As the pool asks: `?` stands for what is bound. */
  function asked<Row extends object>(sql: string, bound: readonly unknown[]): Promise<readonly Row[]> {
    let place = 0;
    return query<Row>(
      server.daemon,
      sql.replace(/\?/g, () => `$${(place += 1)}`),
      bound,
    );
  }

  async function remembered(): Promise<number> {
    return (await query(server.owner, 'select from request_seen union all select from idempotency_key'))
      .length;
  }

  beforeEach(async () => {
    await database.store.seeOnce({ kid: 'kid', jti: 'old', expiresAt: expired });
    await query(
      server.daemon,
      `insert into idempotency_key (principal, key, fingerprint, act, claimed_at, expires_at)
       values ('anna', 'k', 'f', 'act', $1, $1)`,
      [expired.toISOString()],
    );
  });

  it('are forgotten, and none that expired just now', async () => {
    await database.store.seeOnce({ kid: 'kid', jti: 'new', expiresAt: new Date() });
    await forgetExpiredRequests(pool, clock);
    expect(await remembered()).toBe(1);
  });

  it.each([12 * 60_000, 6_000, -6_000, -12 * 60_000])(
    'are remembered when the clock of the daemon differs by %i ms from that of the database',
    async (byMs) => {
      const other = { ...clock, now: () => new Date(Date.now() + byMs) };
      await expect(forgetExpiredRequests(pool, other)).rejects.toThrow('no request is forgotten');
      expect(await remembered()).toBe(2);
    },
  );
});

it('deposits are found by their quorums, in pages, whoever owns them; to the letter, and none by others', async () => {
  const emil = person('emil');
  const alike = aDeposit().purposes;
  const other = alike.map((purpose) => ({
    ...purpose,
    quorums: [...purpose.quorums, ...purpose.quorums.map((one) => ({ ...one, members: [dora, emil] }))],
  }));
  const made = Array.from({ length: 7 }, (_, at) =>
    aDeposit({
      owner: at % 2 === 0 ? anna : dora,
      createdAt: new Date(Date.UTC(2026, 0, 1 + at)),
      purposes: at % 3 === 0 ? other : alike,
    }),
  );
  for (const deposit of made) await record({ change: 'deposit-created', deposit });
  const sets = (purposes: typeof alike): ReturnType<typeof depositedQuorums>[] =>
    purposes.map(depositedQuorums);
  const found = async (quorums: ReturnType<typeof sets>[], owner?: PrincipalId): Promise<readonly string[]> =>
    (await all(2, (page) => database.store.deposits({ quorums, ...(owner && { owner }) }, page))).map(
      ({ key }) => key,
    );
  const keysOf = (...at: readonly number[]): readonly string[] => at.map((one) => made[one]?.key ?? '');
  expect(await found([sets(alike)])).toEqual(keysOf(5, 4, 2, 1));
  expect(await found([sets(other)])).toEqual(keysOf(6, 3, 0));
  expect(await found([sets(other), sets(alike)])).toEqual(keysOf(6, 5, 4, 3, 2, 1, 0));
  expect(await found([sets(other)], anna)).toEqual(keysOf(6, 0));
  expect(await found([])).toEqual([]);
  expect(await found([sets(alike).slice(0, 1)])).toEqual([]);
});
