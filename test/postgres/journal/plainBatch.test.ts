import { Client } from 'pg';
import { NotHeld, type Claim, type JournalWrite } from '../../../src/escrow/ports/journal.js';
import { connectAppender } from '../../../src/postgres/journal/appender.js';
import {
  byteaArray,
  instantArray,
  intArray,
  textArray,
  uuidArray,
} from '../../../src/postgres/journal/binaryArrays.js';
import type { Database } from '../../../src/postgres/database.js';
import type { Send } from '../../../src/postgres/journal/lockedRows.js';
import { takeUses, type Rate, type RecentUses } from '../../../src/escrow/records/rate.js';
import { recordPlain } from '../../../src/postgres/journal/plainBatch.js';
import type { Writer } from '../../../src/postgres/log/writer.js';
import { query, startTestServer, type TestServer } from '../../support/postgres.js';
import { softwareSigner } from '../../support/signer.js';
import { openOn, somebodyWaits, writerOn } from '../fixtures.js';
import { aGrant, anna, writeOf } from '../records.js';
import { until } from '../../support/waiting.js';
import { LIMITS_MS } from '../../support/limits.js';
import { chance } from '../../support/chance.js';

jest.setTimeout(LIMITS_MS.database);

const signer = softwareSigner();
const later = new Date('2100-01-01T00:00:00.000Z');
const timeouts = { connectMs: 5000, appendMs: 5000 };
let server: TestServer;
let database: Database;
let other: Writer;

beforeAll(async () => {
  server = await startTestServer();
});
beforeEach(async () => {
  await server.reset();
  database = await openOn(server, signer);
  other = await writerOn(server.daemon, signer, 'other');
});
afterEach(() => database.close());
afterAll(() => server.stop());

/** No policy is applied here: version 0 is in force. */
const inForce = (version: number): Claim => ({ claim: 'policy-in-force', version });
const request = (jti: string): Claim => ({ claim: 'request-unused', kid: 'kid', jti, expiresAt: later });

/** Has one batch of these recorded as plain on a connection of its own, which says that it is another instance. */
async function recordTogether(...writes: readonly JournalWrite[]): Promise<number> {
  const appender = await connectAppender(server.daemon, timeouts, 0);
  try {
    const outcome = await recordPlain(appender.send, other, writes);
    if (outcome.outcome === 'recorded') return outcome.stands?.base ?? NaN;
    throw outcome.cause;
  } finally {
    await appender.close();
  }
}

async function countOf(from: string): Promise<number> {
  const [row] = await query<{ count: number }>(server.owner, `select count(*)::int as count from ${from}`);
  return row?.count ?? NaN;
}

describe('a plain batch', () => {
  it('records entries, requests, uses and open acts as if each had been judged', async () => {
    const grant = aGrant();
    await database.journal.append(writeOf('alone', { changes: [{ change: 'grant-created', grant }] }));
    const use = { claim: 'uses-counted', grant: grant.id, uses: 1, at: grant.startsAt } as const;
    const about = { grant: grant.id, owner: anna };
    const [first, second] = ['a', 'b'].map((jti) => writeOf('opens', { about, claims: [request(jti), use] }));
    if (first === undefined || second === undefined) throw new Error('no writes');
    expect(await recordTogether(writeOf('alone'), first, second)).toBe(1);
    expect(await recordTogether(writeOf('closes', { id: first.id, about }))).toBe(4);
    expect(await database.log.entries(2, 2)).toEqual(
      [first, second].map(({ entry }, place) => ({ index: 2 + place, entry: Buffer.from(entry) })),
    );
    expect(await database.journal.openActs()).toEqual([
      { id: second.id, entry: Buffer.from(second.entry), about, by: 'gone' },
    ]);
    expect((await database.store.findGrant(grant.id))?.used).toBe(2);
    expect(await database.store.seeOnce({ kid: 'kid', jti: 'a', expiresAt: later })).toBe(false);
    const page = await database.log.entriesAbout({ grant: grant.id }, { after: undefined, limit: 9 });
    expect(page.items.map(({ index }) => index)).toEqual([4, 3, 2]);
  });

  const grant = aGrant();
  const rated = aGrant({ scope: { ...grant.scope, maxUses: 9, rate: { uses: 3, perMs: 64_000 } } });
  const use = (of: typeof grant, uses: number, at = of.startsAt): Claim => ({
    claim: 'uses-counted',
    grant: of.id,
    uses,
    at,
  });
  const sliceLater = new Date(rated.startsAt.getTime() + 1000);
  const opened = writeOf('opens');
  const cases: readonly (readonly [string, JournalWrite])[] = [
    ['a request that was seen', writeOf('opens', { claims: [request('seen')] })],
    ['more uses than are left', writeOf('opens', { claims: [use(grant, 4)] })],
    ['a use before the grant starts', writeOf('opens', { claims: [use(grant, 1, new Date(0))] })],
    ['a use when the grant has expired', writeOf('opens', { claims: [use(grant, 1, grant.expiresAt)] })],
    ['uses of an unknown grant', writeOf('opens', { claims: [use(aGrant(), 1)] })],
    ['more uses than a rate allows', writeOf('opens', { claims: [use(rated, 4)] })],
    [
      'uses of two slices of a rate',
      writeOf('opens', { claims: [use(rated, 1), use(rated, 1, sliceLater)] }),
    ],
    ['a caller of another policy', writeOf('opens', { claims: [inForce(1)] })],
    ['an act that is not open', writeOf('closes')],
    ['an act that is closed twice', writeOf('closes', { id: opened.id })],
  ];

  it.each(cases)('is not recorded at all with %s', async (what, write) => {
    const changes = [grant, rated].map((each) => ({ change: 'grant-created', grant: each }) as const);
    await database.journal.append(writeOf('alone', { changes, claims: [request('seen')] }));
    await database.journal.append(opened);
    const good = writeOf('opens', { claims: [request('new'), inForce(0), use(grant, 1)] });
    const others = what.endsWith('twice') ? [good, write] : [good];
    await expect(recordTogether(...others, write)).rejects.toMatchObject({ severity: 'ERROR' });
    expect(await countOf('log_entry')).toBe(2);
    expect(await countOf('open_act')).toBe(1);
    expect((await database.store.findGrant(grant.id))?.used).toBe(0);
    expect(await database.store.seeOnce({ kid: 'kid', jti: 'new', expiresAt: later })).toBe(true);
  });

  it('does not suffer from the one write of it that does not hold, which is told why', async () => {
    await database.journal.append(writeOf('alone', { claims: [request('seen')] }));
    const writes = Array.from({ length: 12 }, (_, at) =>
      writeOf('opens', { claims: [request(at === 7 ? 'seen' : `new-${at}`)] }),
    );
    const settled = await Promise.allSettled(writes.map((write) => database.journal.append(write)));
    expect(settled.map(({ status }) => status === 'fulfilled')).toEqual(writes.map((_, at) => at !== 7));
    expect(settled[7]).toMatchObject({ reason: new NotHeld('request-unused') });
    const indexes = settled.flatMap((each) => (each.status === 'fulfilled' ? [each.value.index] : []));
    expect(indexes).toEqual(Array.from({ length: 11 }, (_, at) => 1 + at));
  });

  it('is recorded under the one policy that its callers were known by, or each is told whose has gone', async () => {
    await query(server.owner, 'update policy_head set version = 7');
    const writes = [7, 7, 6].map((version) => writeOf('opens', { claims: [inForce(version)] }));
    const [first, second] = writes;
    if (first === undefined || second === undefined) throw new Error('no writes');
    expect(await recordTogether(first, second)).toBe(0);
    await expect(recordTogether(...writes)).rejects.toMatchObject({ code: 'ESC01' });
    const again = [6, 7].map((version) => writeOf('opens', { claims: [inForce(version)] }));
    const settled = await Promise.allSettled(again.map((write) => database.journal.append(write)));
    expect(settled).toMatchObject([{ reason: new NotHeld('policy-in-force') }, { value: { index: 2 } }]);
  });

  it('that waits while a policy is put in force is recorded behind it, or not at all', async () => {
    const applying = await connected();
    await applying.query('begin');
    await applying.query('update policy_head set version = 1');
    await applying.query('update log_head set size = size');
    const recording = recordTogether(writeOf('opens', { claims: [inForce(0)] }));
    recording.catch(() => undefined);
    await somebodyWaits(server);
    await applying.query('commit');
    await expect(recording).rejects.toMatchObject({ code: 'ESC01' });
    await applying.end();
  });

  it('is one transaction that is committed by its statement, and one statement', async () => {
    const appender = await connectAppender(server.daemon, timeouts, 0);
    const sent: string[] = [];
    const send: Send = (statement) => {
      sent.push(statement.name);
      return appender.send(statement);
    };
    await recordPlain(send, other, [writeOf('opens'), writeOf('opens')]);
    expect(sent).toEqual(['append-plain']);
    expect(await countOf('(select distinct xmin::text from log_entry) as transactions')).toBe(1);
    await appender.close();
  });

  it('counts the uses of a grant with a rate by its rate, with those of others', async () => {
    const changes = [grant, rated].map((each) => ({ change: 'grant-created', grant: each }) as const);
    await database.journal.append(writeOf('alone', { changes }));
    const uses = [use(rated, 2), use(grant, 1), use(rated, 1)];
    await recordTogether(...uses.map((claim) => writeOf('opens', { claims: [claim] })));
    const { scope, startsAt } = rated;
    const recent = takeUses(scope.rate ?? { uses: 0, perMs: 1 }, [], 3, startsAt);
    expect(await database.store.findGrant(rated.id)).toMatchObject({ used: 3, recent });
    expect(await database.store.findGrant(grant.id)).toMatchObject({ used: 1, recent: [] });
  });

  it('leaves to the judge those that are too many for a rate, and nobody else suffers from them', async () => {
    await database.journal.append(writeOf('alone', { changes: [{ change: 'grant-created', grant: rated }] }));
    const round = async (): Promise<readonly boolean[]> => {
      const uses = Array.from({ length: 2 }, () => writeOf('opens', { claims: [use(rated, 1)] }));
      const settled = await Promise.allSettled(
        [...uses, writeOf('alone')].map((write) => database.journal.append(write)),
      );
      return settled.map(({ status }) => status === 'fulfilled');
    };
    expect(await round()).toEqual([true, true, true]);
    expect(await round()).toEqual([true, false, true]);
    expect(await round()).toEqual([false, false, true]);
    expect((await database.store.findGrant(rated.id))?.used).toBe(3);
  });
});

describe('the rates that the database counts', () => {
  const RATES: readonly Rate[] = [
    { uses: 3, perMs: 1 },
    { uses: 5, perMs: 63 },
    { uses: 20, perMs: 1000 },
    { uses: 7, perMs: 64_000 },
    { uses: 1000, perMs: 86_400_000 },
  ];

  it.each(RATES)('are those of the judge: $uses in $perMs ms', async (rate) => {
    const draw = chance(`rate of ${rate.uses} in ${rate.perMs}`);
    let recent: RecentUses = [];
    let nowMs = Date.parse('2026-03-01T00:00:00.000Z');
    let refused = 0;
    for (let step = 0; step < 200; step += 1) {
      // sometimes the clock goes back
      nowMs += draw.below(Math.ceil((3 * rate.perMs) / rate.uses)) - draw.below(2);
      const uses = 1 + draw.below(Math.ceil(rate.uses / 4));
      const next = takeUses(rate, recent, uses, new Date(nowMs));
      expect(await recentWith(rate, recent, uses, nowMs, nowMs)).toEqual(next ?? null);
      if (next === undefined) refused += 1;
      recent = next ?? recent;
    }
    expect(refused).toBeGreaterThan(0);
    expect(refused).toBeLessThan(200);
  });

  it('are never more than the judge allows when the uses are not of one instant', async () => {
    const rate = { uses: 10, perMs: 6400 };
    const draw = chance('uses of a while');
    let recent: RecentUses = [];
    let nowMs = Date.parse('2026-03-01T00:00:00.000Z');
    const seen = { taken: 0, left: 0 };
    for (let step = 0; step < 200; step += 1) {
      nowMs += draw.below(400);
      const times = Array.from({ length: 1 + draw.below(3) }, () => nowMs + draw.below(60)).sort(
        (a, b) => a - b,
      );
      const [first = nowMs] = times;
      const found = await recentWith(rate, recent, times.length, first, times.at(-1) ?? first);
      if (found === null) seen.left += 1;
      else {
        seen.taken += 1;
        let judged: RecentUses | undefined = recent;
        for (const atMs of times) judged = judged && takeUses(rate, judged, 1, new Date(atMs));
        expect(judged).toBeDefined();
        recent = found;
      }
      nowMs = times.at(-1) ?? nowMs;
    }
    expect(Math.min(seen.taken, seen.left)).toBeGreaterThan(10);
  });

  let client: Client;
  beforeEach(async () => {
    client = await connected();
  });
  afterEach(() => client.end());

  async function recentWith(
    rate: Rate,
    recent: RecentUses,
    uses: number,
    sinceMs: number,
    untilMs: number,
  ): Promise<RecentUses | null> {
    const { rows } = await client.query<{ recent: RecentUses | null }>(
      'select recent_with($1, $2, $3, $4, $5) as recent',
      [JSON.stringify(rate), JSON.stringify(recent), uses, new Date(sinceMs), new Date(untilMs)],
    );
    return rows[0]?.recent ?? null;
  }
});

it('two daemons in the same instant would have the same index if a plain batch did not lock the head', async () => {
  await query(server.owner, 'alter table log_entry drop constraint log_entry_pkey');
  await query(server.owner, 'alter table log_batch drop constraint log_batch_pkey');
  const bases = async (name: string): Promise<readonly (number | undefined)[]> => {
    const both = await Promise.all([connected(), connected()]);
    await Promise.all(both.map((each) => each.query('begin')));
    const writers = await Promise.all(both.map((_, at) => writerOn(server.daemon, signer, `${name}-${at}`)));
    const appending = both.map((each, at) =>
      recordPlain(senderOf(each), writers[at] ?? other, [writeOf('alone')])
        .then((outcome) => each.query('commit').then(() => outcome))
        .then((outcome) => (outcome.outcome === 'recorded' ? outcome.stands?.base : undefined)),
    );
    const found = await Promise.all(appending);
    await Promise.all(both.map((each) => each.end()));
    return [...found].sort();
  };
  // one has begun, and both have looked, before either commits
  expect(await bases('locked')).toEqual([0, 1]);
  const [{ source } = { source: '' }] = await query<{ source: string }>(
    server.owner,
    `select pg_get_functiondef('append_plain'::regproc) as source`,
  );
  const taking =
    /update log_head h set size = h\.size \+ cardinality\(ids\) where h\.id = 1\s+returning h\.size - cardinality\(ids\) into strict base;/;
  expect(source).toMatch(taking);
  await query(
    server.owner,
    source.replace(
      taking,
      'select h.size into strict base from log_head h where h.id = 1; perform pg_advisory_xact_lock_shared(77);',
    ),
  );
  // neither goes on before both have looked
  const barrier = await connected();
  await barrier.query('select pg_advisory_lock(77)');
  const found = bases('unlocked');
  const waiting = `select from pg_stat_activity where wait_event = 'advisory'`;
  await until(async () => (await query(server.daemon, waiting)).length === 2);
  await barrier.end();
  expect(await found).toEqual([2, 2]);
});

async function connected(): Promise<Client> {
  const client = new Client({ ...server.daemon, ssl: false });
  await client.connect();
  return client;
}

function senderOf(client: Client): Send {
  return async ({ name, text, values }) =>
    (await client.query({ name, text, values: [...values] })).rows as never;
}

it('arrays arrive as they were sent, with nulls and empty ones', async () => {
  const client = await connected();
  const ask = async (type: string, array: Buffer): Promise<unknown> =>
    (await client.query<{ array: unknown }>(`select $1::${type} as array`, [array])).rows[0]?.array;
  const texts = ['', 'plain', 'quoted " \\ {}, null', 'ümläut 🔑', 'x'.repeat(70_000)];
  expect(await ask('text[]', textArray([...texts, undefined, 'end']))).toEqual([...texts, null, 'end']);
  expect(await ask('int[]', intArray([0, -1, 2_147_483_647]))).toEqual([0, -1, 2_147_483_647]);
  const bytes = [Buffer.alloc(0), chance('plain batch').bytes(1000), Buffer.from([0, 0x5c, 0x27])];
  expect(await ask('bytea[]', byteaArray(bytes))).toEqual(bytes);
  const instants = ['1970-01-01T00:00:00.001Z', '1999-12-31T23:59:59.999Z', '2100-02-03T04:05:06.789Z'];
  const dates = instants.map((text) => new Date(text));
  expect(await ask('timestamptz[]', instantArray(dates))).toEqual(dates);
  const uuid = Buffer.from('00112233445566778899aabbccddeeff', 'hex');
  expect(await ask('uuid[]', uuidArray([uuid]))).toEqual(['00112233-4455-6677-8899-aabbccddeeff']);
  for (const [type, array] of [
    ['text[]', textArray([])],
    ['int[]', intArray([])],
    ['bytea[]', byteaArray([])],
    ['timestamptz[]', instantArray([])],
    ['uuid[]', uuidArray([])],
  ] as const)
    expect(await ask(type, array)).toEqual([]);
  expect(() => instantArray([new Date(NaN)])).toThrow(RangeError);
  expect(() => intArray([2 ** 31])).toThrow(/out of range/);
  await client.end();
});
