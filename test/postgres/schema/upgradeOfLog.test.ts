import { newId } from '../../../src/escrow/records/ids.js';
import { NotHeld, type Claim, type JournalWrite } from '../../../src/escrow/ports/journal.js';
import { type Subject } from '../../../src/log/entry/entry.ts';
import type { Database } from '../../../src/postgres/database.js';
import { migrationsUpTo005 } from '../../../src/postgres/schema/upTo005.js';
import { migrationsUpTo009 } from '../../../src/postgres/schema/upTo009.js';
import { query, startTestServer, type TestServer } from '../../support/postgres.js';
import { softwareSigner } from '../../support/signer.js';
import { openOn } from '../fixtures.js';
import { migrateTo } from './olderSchema.js';
import { anna, writeOf } from '../records.js';
import { LIMITS_MS } from '../../support/limits.js';
import { freshBytes } from '../../support/fresh.js';

jest.setTimeout(LIMITS_MS.database);

const signer = softwareSigner();
let server: TestServer;
let database: Database;

/** What a daemon of before wrote: an entry at a place, as it stood in the log and beside it. */
const standing: JournalWrite[] = [];
const claimedAt = new Date('2026-03-01T00:00:00.000Z');
const expiresAt = new Date('2100-01-01T00:00:00.000Z');
const about: Subject = { owner: 'anna', key: 'key_1' };
const recovery = newId('RecoveryId', freshBytes);
const done = writeOf('opens', { about, act: 'key.generate' });
const failed = writeOf('opens', { about: { owner: 'anna' }, act: 'key.generate' });
const open = writeOf('opens', { about: { owner: 'bert' }, act: 'key.generate' });
const filing = writeOf('opens', { about: { recovery, owner: 'anna' }, act: 'recovery.request' });

beforeAll(async () => {
  server = await startTestServer('none');
  await migrateTo(server, [...migrationsUpTo005, ...migrationsUpTo009]);
  for (let at = 0; at < 60; at += 1) await stand(writeOf('alone', { about: at % 3 === 0 ? about : {} }));
  for (const attempt of [done, failed, open, filing]) await stand(attempt);
  await stand(writeOf('closes', { ...done, role: 'closes', entry: outcome(done) }));
  await stand(writeOf('closes', { ...failed, role: 'closes', entry: outcome(failed, 'failed') }));
  await stand(writeOf('closes', { ...filing, role: 'closes', entry: outcome(filing) }));
  await query(server.owner, 'update log_head set size = $1', [standing.length]);
  await query(server.owner, `insert into open_act (id, instance) values ($1, 'instance_gone')`, [open.id]);
  await query(server.owner, `insert into request_seen values ('kid', 'seen_before', $1)`, [expiresAt]);
  for (const [key, { id }] of Object.entries({ done, failed, open })) {
    await query(
      server.owner,
      `insert into idempotency_key (principal, key, fingerprint, act, claimed_at, expires_at) values ($1, $2, 'f', $3, $4, $5)`,
      [anna, key, id, claimedAt, expiresAt],
    );
  }
  database = await openOn(server, signer, { owner: server.owner });
});
afterAll(async () => {
  await database.close();
  await server.stop();
});

async function stand({ id, role, entry, about: of }: JournalWrite): Promise<void> {
  await query(
    server.owner,
    `insert into log_entry (seq, id, role, entry, about_key, about_owner, about_recovery, about_grant)
     values ($1, $2, $3, $4, $5, $6, $7, $8)`,
    [standing.length, id, role, entry, of.key, of.owner, of.recovery, of.grant],
  );
  standing.push({ id, role, entry, about: of, claims: [], changes: [] });
}

function outcome(attempt: JournalWrite, phase = 'done'): Buffer {
  const text = Buffer.from(attempt.entry).toString().replace('"phase":"attempted"', `"phase":"${phase}"`);
  return Buffer.from(phase === 'failed' ? text.replace('"id":', '"error":"interrupted","id":') : text);
}

describe('a database that stood at 009, with a log, when it is brought up to date', () => {
  it('has every entry at its place, under a tree', async () => {
    const entries = await database.log.entries(0, 10_000);
    expect(entries.map(({ entry }) => entry)).toEqual(standing.map(({ entry }) => Buffer.from(entry)));
    expect(await database.log.inclusion(standing.length - 1)).toMatchObject({ size: standing.length });
  });

  it.each([{ owner: 'anna' }, about, { recovery }])('says the same about %p', async (subject) => {
    const page = await database.log.entriesAbout(subject, { after: undefined, limit: 1000 });
    const expected = standing.flatMap(({ about: stands }, index) =>
      Object.entries(subject).every(([name, id]) => stands[name as keyof Subject] === id) ? [index] : [],
    );
    expect(page.items.map(({ index }) => index)).toEqual(expected.reverse());
    expect(expected.length).toBeGreaterThan(1);
  });

  it('finds the filing of a recovery', async () => {
    expect(await database.log.filing(recovery)).toMatchObject({ index: standing.length - 1 });
  });

  it('still knows which requests were used', async () => {
    const claims = [{ claim: 'request-unused', kid: 'kid', jti: 'seen_before', expiresAt } as const];
    await expect(database.journal.append(writeOf('opens', { claims }))).rejects.toEqual(
      new NotHeld('request-unused'),
    );
  });

  it('knows what an Idempotency-Key stands for, and of an act that was open when it ends', async () => {
    const find = (key: string): ReturnType<Database['store']['findCreation']> =>
      database.store.findCreation({ principal: anna, key }, claimedAt);
    const index = standing.findIndex(({ id, role }) => id === done.id && role === 'closes');
    expect(await find('done')).toEqual({ status: 'done', fingerprint: 'f', index, about: { key: 'key_1' } });
    expect(await find('failed')).toBeUndefined();
    expect(await find('open')).toEqual({ status: 'open', fingerprint: 'f' });
    const free = (key: string): Claim => ({
      claim: 'idempotency-key-free',
      principal: anna,
      key,
      fingerprint: 'f',
      at: claimedAt,
      expiresAt,
    });
    const claim = (key: string): Promise<unknown> =>
      database.journal.append(writeOf('opens', { claims: [free(key)] }));
    const refused = new NotHeld('idempotency-key-free');
    await expect(claim('done')).rejects.toEqual(refused);
    await expect(claim('open')).rejects.toEqual(refused);
    await claim('failed');
    expect(await database.journal.openActs()).toMatchObject([
      { id: open.id, entry: Buffer.from(open.entry), about: open.about, by: 'gone' },
      { by: 'self' },
    ]);
    const closed = await database.journal.append(writeOf('closes', { id: open.id }));
    expect(await find('open')).toMatchObject({ status: 'done', index: closed.index });
    await expect(database.journal.append(writeOf('closes', { id: open.id }))).rejects.toEqual(
      new NotHeld('act-open'),
    );
  });
});
