import type { GrantId, KeyId, RecoveryId } from '../../../src/escrow/records/ids.js';
import type { Database } from '../../../src/postgres/database.js';
import { migrationsUpTo005 } from '../../../src/postgres/schema/upTo005.js';
import { query, startTestServer, type TestServer } from '../../support/postgres.js';
import { softwareSigner } from '../../support/signer.js';
import { openOn } from '../fixtures.js';
import { writeOf } from '../records.js';
import { migrateTo } from './olderSchema.js';
import { LIMITS_MS } from '../../support/limits.js';

jest.setTimeout(LIMITS_MS.database);

/*
 * A database as the program left it at migration 005, with one record of each kind in the form that it wrote, brought to
 * what the program needs now. What stands here is history: it is not made of today's types, and does not change with them.
 */

const KEY = `key_${'1'.repeat(32)}` as KeyId;
const LATER_KEY = `key_${'2'.repeat(32)}` as KeyId;
const [PENDING, APPROVED, ACTIVE, RELEASED] = ['1', '2', '3', '4'].map(
  (digit) => `rec_${digit.repeat(32)}` as RecoveryId,
);
const GRANT = `grant_${'1'.repeat(32)}` as GrantId;
const AT = '2026-01-02T03:04:05.678Z';
const EXPIRES = '2026-01-09T00:00:00.000Z';
const base64 = (text: string): string => Buffer.from(text).toString('base64');

const purpose = (name: string): object => ({
  purpose: name,
  kek: `kek:${name}:v1`,
  mechanisms: { wrap: 'RFC5649', oaep: 'RSA-OAEP', seal: 'A256GCM' },
  shares: ['dieter', 'dora'].map((depositary) => ({
    depositary,
    recipient: 'ab'.repeat(32),
    share: base64(`share of ${depositary}`),
    link: base64('link'),
  })),
  quorums: [{ members: ['dieter', 'dora'], sealed: base64(`sealed to ${name}`) }],
});
const deposit = (key: string, terms: object): object => ({
  key,
  owner: 'anna',
  label: 'post – „E-Mail“',
  spec: 'ec-p256',
  use: 'sign',
  publicKey: base64('SPKI'),
  createdAt: AT,
  rule: { name: 'mail', policyVersion: 1, policyHash: 'cd'.repeat(32) },
  requesters: ['depositary'],
  ownersCopy: null,
  purposes: [purpose('operate'), purpose('release')],
  digest: 'ef'.repeat(32),
  ...terms,
});
const scope = {
  app: 'mail-app',
  operations: ['sign'],
  mechanisms: ['ES256'],
  input: 'digest',
  maxUses: 3,
  durationMs: 3_600_000,
};
const recovery = (id: string | undefined, revision: number, state: object, asked: object): object => ({
  id,
  revision,
  key: KEY,
  owner: 'anna',
  requester: 'dora',
  asked,
  reason: 'away',
  filedAt: AT,
  expiresAt: EXPIRES,
  requestHash: '12'.repeat(32),
  transportKey: base64('transport SPKI'),
  attestation: 'a.b.c',
  approvals: [{ depositary: 'dora', statement: 'd.e.f', reply: base64('reply'), at: AT }],
  denials: [],
  state,
});
const toOperate = { purpose: 'operate', scope };
const toRelease = { purpose: 'release', recipient: 'dora' };
const RECOVERIES = [
  recovery(PENDING, 1, { status: 'pending' }, toOperate),
  recovery(APPROVED, 2, { status: 'approved', releasableAt: AT }, toRelease),
  recovery(ACTIVE, 3, { status: 'active', grant: GRANT, at: AT }, toOperate),
  recovery(
    RELEASED,
    3,
    { status: 'released', at: AT, answer: { transferKey: base64('X'), key: base64('U') } },
    toRelease,
  ),
] as readonly {
  readonly id: string;
  readonly revision: number;
  readonly state: { readonly status: string };
}[];

const bytesOf = (text: string): Uint8Array => new Uint8Array(Buffer.from(text));

let server: TestServer;
let database: Database;

beforeAll(async () => {
  server = await startTestServer('none');
  await migrateTo(server, migrationsUpTo005);
  await fill();
  database = await openOn(server, softwareSigner(), { owner: server.owner });
});
afterAll(async () => {
  await database.close();
  await server.stop();
});

async function fill(): Promise<void> {
  const run = (sql: string, ...values: readonly unknown[]): Promise<unknown> =>
    query(server.owner, sql, values);
  for (const version of [1, 2])
    await run(
      'insert into policy (version, hash, document, signatures) values ($1, $2, $3, $4)',
      version,
      `h${version}`,
      `{"v":${version}}`,
      [`a${version}.b.c`],
    );
  await run('update policy_head set version = 2');
  const operate = { operations: ['sign'], maxUses: 100, maxDurationMs: 86_400_000 };
  const release = { delayMs: 14_400_000, ownerMayVeto: true };
  for (const [key, terms] of [
    [KEY, { operate, release }],
    [LATER_KEY, { operate: null, release: null }],
  ] as const)
    await run(
      `insert into deposit (key, owner, depositaries, created_at, document) values ($1, 'anna', '{dora,dieter}', $2, $3)`,
      key,
      AT,
      JSON.stringify(deposit(key, terms)),
    );
  for (const { id, revision, state, ...rest } of RECOVERIES)
    await run(
      `insert into recovery (id, revision, status, key, participants, filed_at, document)
       values ($1, $2, $3, $4, '{anna,dora,dieter,mail-app}', $5, $6)`,
      id,
      revision,
      state.status,
      KEY,
      AT,
      JSON.stringify({ id, revision, state, ...rest }),
    );
  await run(
    `insert into grant_ (id, recovery, key, spec, owner, app, scope, used, max_uses, starts_at, expires_at, status)
     values ($1, $2, $3, 'ec-p256', 'anna', 'mail-app', $4, 2, 3, $5, $6, 'active')`,
    GRANT,
    ACTIVE,
    KEY,
    JSON.stringify(scope),
    AT,
    EXPIRES,
  );
  await run('insert into request_seen values ($1, $2, $3)', 'kid', 'jti', EXPIRES);
}

test('policies are those that were in force, without the time that was not kept', async () => {
  expect(await database.store.policyVersion()).toBe(2);
  expect(await database.store.policies(0, 9)).toEqual(
    [1, 2].map((version) => ({
      version,
      hash: `h${version}`,
      document: `{"v":${version}}`,
      signatures: [`a${version}.b.c`],
      appliedAt: undefined,
    })),
  );
});

test('a deposit keeps its ciphertexts and terms, and gets the terms that held for it until they were written', async () => {
  const found = await database.store.findDeposit(KEY);
  expect(found).toMatchObject({
    owner: 'anna',
    label: 'post – „E-Mail“',
    createdAt: new Date(AT),
    requests: { maxValidForMs: 90 * 86_400_000, denialsToEnd: undefined, distinct: [] },
    operate: {
      maxUses: 100,
      rate: undefined,
      mechanisms: undefined,
      input: 'digest',
      delayMs: 0,
      ownerMayVeto: false,
    },
    release: { delayMs: 14_400_000, ownerMayVeto: true },
  });
  // seven days more than the delay of a release
  expect(found?.requests.approvalsHoldMs).toBe(7 * 86_400_000 + 14_400_000);
  const [share] = found?.purposes[1]?.shares ?? [];
  expect(Buffer.from(share?.share ?? []).toString()).toBe('share of dieter');
  expect(Buffer.from(found?.purposes[0]?.quorums[0]?.sealed ?? []).toString()).toBe('sealed to operate');
  expect(await database.store.findDeposit(LATER_KEY)).toMatchObject({
    operate: undefined,
    release: undefined,
  });
  const page = { after: undefined, limit: 10 };
  expect((await database.store.deposits({ depositary: 'dieter' as never }, page)).items).toHaveLength(2);
  const alike = async (quorums: readonly string[][]): Promise<number> => {
    const purposes = (['operate', 'release'] as const).map((purpose) => ({ purpose, quorums }));
    const found = await database.store.deposits({ quorums: [[], purposes] as never }, page);
    return found.items.length;
  };
  expect([await alike([['dieter', 'dora']]), await alike([['dieter']])]).toEqual([2, 0]);
});

test('a request keeps its state, its one key becomes a list of one, and its approvals hold until it expires, as they did', async () => {
  const { store } = database;
  const expiresAt = new Date(EXPIRES);
  expect(await store.findRecovery(PENDING ?? ('' as never))).toMatchObject({
    state: { status: 'pending' },
    requester: 'dora',
    approvalsHoldMs: 0,
    asked: {
      purpose: 'operate',
      scope: { ...scope, rate: undefined, notBefore: undefined, notAfter: undefined },
    },
    keys: [KEY],
    approvals: [{ depositary: 'dora', at: new Date(AT), expiresAt }],
  });
  expect((await store.findRecovery(APPROVED ?? ('' as never)))?.state).toEqual({
    status: 'approved',
    releasableAt: new Date(AT),
    holdsUntil: expiresAt,
  });
  expect((await store.findRecovery(ACTIVE ?? ('' as never)))?.state).toEqual({
    status: 'active',
    grants: [{ key: KEY, grant: GRANT }],
    at: new Date(AT),
  });
  const released = await store.findRecovery(RELEASED ?? ('' as never));
  expect(released?.asked).toMatchObject({ purpose: 'release', recipient: 'dora' });
  expect(
    released?.approvals[0]?.replies.map(({ key, reply }) => [key, Buffer.from(reply).toString()]),
  ).toEqual([[KEY, 'reply']]);
  expect(released?.state).toMatchObject({
    status: 'released',
    answers: [{ key: KEY, transferKey: bytesOf('X'), wrappedKey: bytesOf('U') }],
  });
  // the form of before is gone: one key is a list of one
  for (const gone of ['key', 'grant', 'answer', 'reply']) {
    expect(released).not.toHaveProperty(gone);
    expect(released?.state).not.toHaveProperty(gone);
    expect(released?.approvals[0]).not.toHaveProperty(gone);
  }
  expect(await query(server.owner, 'select id from recovery where keys @> array[$1]', [KEY])).toHaveLength(4);
  expect((await store.openRecoveries()).map(({ id }) => id)).toEqual([PENDING, APPROVED]);
  const page = { after: undefined, limit: 10 };
  expect((await store.recoveries({ participant: 'dieter' as never }, page)).items).toHaveLength(4);
});

test('a grant keeps its uses, and counts on', async () => {
  expect(await database.store.findGrant(GRANT)).toMatchObject({
    used: 2,
    status: 'active',
    scope: { ...scope, rate: undefined, notBefore: undefined, notAfter: undefined },
    startsAt: new Date(AT),
    expiresAt: new Date(EXPIRES),
  });
  const claim = {
    claim: 'uses-counted',
    grant: GRANT,
    uses: 1,
    at: new Date('2026-01-03T00:00:00.000Z'),
  } as const;
  await database.journal.append(writeOf('opens', { claims: [claim] }));
  expect(await database.store.findGrant(GRANT)).toMatchObject({ used: 3 });
  await expect(database.journal.append(writeOf('opens', { claims: [claim] }))).rejects.toMatchObject({
    what: 'uses-counted',
  });
});

test('a request that was seen is seen', async () => {
  const seen = { kid: 'kid', jti: 'jti', expiresAt: new Date(EXPIRES) };
  expect(await database.store.seeOnce(seen)).toBe(false);
  expect(await database.store.seeOnce({ ...seen, jti: 'other' })).toBe(true);
});
