import { generateKeyPairSync, sign } from 'node:crypto';
import { MEANS } from '../../../src/escrow/ledger/means.js';
import type { Database } from '../../../src/postgres/database.js';
import { openPool, type Ask, type Pool } from '../../../src/postgres/pool.js';
import { batchBytes, WRITER_TYPE, writerInput } from '../../../src/log/statements/writer.js';
import { canonicalJson, type Json } from '../../../src/log/entry/canonical.js';
import { leafHash } from '../../../src/log/tree/merkle.js';
import { WrittenEntries } from '../../../src/postgres/log/writtenEntries.js';
import { certifier, openOn } from '../../postgres/fixtures.js';
import { writeOf } from '../../postgres/records.js';
import { query, startTestServer, type TestServer } from '../../support/postgres.js';
import { softwareCertifier, softwareSigner } from '../../support/signer.js';
import { readUnchecked } from './daemonParts.js';
import { LIMITS_MS } from '../../support/limits.js';
import { chance } from '../../support/chance.js';

jest.setTimeout(LIMITS_MS.database);

/*
 * What the daemon's own role, or the schema's owner, puts among the entries before they are in a tree. Each attack is made in a
 * transaction that is taken back: the daemon goes on beside it. What a daemon does when it finds one is in
 * runningDaemon.test.ts.
 */

const signer = softwareSigner();
const log = signer.vkey;
let server: TestServer;
let database: Database;
let daemonRole: Pool;
let ownerRole: Pool;
/** The first of the entries that are in no tree, and where they end: three batches of two. */
const first = 4;
const end = 10;

beforeAll(async () => {
  server = await startTestServer();
  database = await openOn(server, signer, { checkpointIntervalMs: 600_000 });
  const timeouts = { connectMs: 5000, queryMs: 5000 };
  daemonRole = openPool(server.daemon, timeouts, 2);
  ownerRole = openPool(server.owner, timeouts, 2);
  await appendBatch(first);
  await database.log.inclusion(first - 1);
  for (let at = first; at < end; at += 2) await appendBatch(2);
});
afterAll(async () => {
  await database.close();
  await daemonRole.close();
  await ownerRole.close();
  await server.stop();
});

/** Appends in one turn of the event loop: that is one batch. */
async function appendBatch(count: number): Promise<void> {
  await Promise.all(Array.from({ length: count }, () => database.journal.append(writeOf('alone'))));
}

class TakenBack extends Error {}

/** Does as this role, looks, and has it taken back. */
async function tried<T>(
  role: Pool,
  attack: (ask: Ask) => Promise<void>,
  look: (ask: Ask) => Promise<T>,
): Promise<T> {
  let seen: { readonly value: T } | undefined;
  await role
    .transaction(async (ask) => {
      await attack(ask);
      seen = { value: await look(ask) };
      throw new TakenBack();
    })
    .catch((error: unknown) => {
      if (!(error instanceof TakenBack)) throw error;
    });
  if (seen === undefined) throw new Error('nothing was seen');
  return seen.value;
}

function checked(ask: Ask): Promise<string> {
  const written = new WrittenEntries({ log, identityKey: certifier.publicKey, from: 0 });
  return written.read(ask, first).then(
    ({ entries }) => `${entries.length} entries`,
    (error: unknown) => (error instanceof Error ? `${error.name}: ${error.message}` : String(error)),
  );
}

async function unchecked(ask: Ask): Promise<string> {
  return `${(await readUnchecked(ask, first)).entries.length} entries`;
}

const text = (value: Uint8Array): string => `\\x${Buffer.from(value).toString('hex')}`;

async function insertEntries(ask: Ask, at: number, entries: readonly Uint8Array[]): Promise<void> {
  for (const [place, entry] of entries.entries()) {
    await ask('insert into log_entry (seq, id, part, entry) values (?, ?, ?, ?)', [
      at + place,
      'act_0',
      'alone',
      Buffer.from(entry),
    ]);
  }
  await ask('update log_head set size = ? where id = 1', [at + entries.length]);
}

interface Signed {
  readonly writer: string;
  readonly counter: number;
  readonly follows?: number;
  readonly since?: number;
  readonly signature: Uint8Array;
}

async function insertBatch(ask: Ask, at: number, count: number, batch: Signed): Promise<void> {
  const { writer, counter, follows = 0, since = 1, signature } = batch;
  await ask(
    'insert into log_batch (first, count, writer, counter, follows, since, signature) values (?, ?, ?, ?, ?, ?, ?::bytea)',
    [at, count, writer, counter, follows, since, text(signature)],
  );
}

const forged = writeOf('alone', { act: 'recovery.veto' }).entry;

it('what nobody changed is believed', async () => {
  expect(await tried(daemonRole, () => Promise.resolve(), checked)).toBe('6 entries');
});

describe('an entry that the daemon’s role inserts is found', () => {
  const acts = Object.keys(MEANS).flatMap((act) =>
    (['opens', 'closes', 'alone'] as const).map((role) => [act, role] as const),
  );
  it.each(acts)('of %s, as one that %s an act', async (act, role) => {
    const attack = (ask: Ask): Promise<void> => insertEntries(ask, end, [writeOf(role, { act }).entry]);
    expect(await tried(daemonRole, attack, checked)).toBe(
      `LogDamaged: the entry ${end} was not written by a daemon`,
    );
    expect(await tried(daemonRole, attack, unchecked)).toBe('7 entries');
  });
});

describe('a writer that the identity key did not certify is found', () => {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  const key = String(publicKey.export({ format: 'jwk' }).x);
  const claims = { aud: log, sub: 'forged', key, from: 0, iat: 1_800_000_000 };
  const sealed = async (input: string, by = certifier): Promise<string> =>
    `${input}.${Buffer.from(await by.attest(Buffer.from(input))).toString('base64url')}`;
  const input = (header: Json, payload: Json): string =>
    [header, payload].map((each) => Buffer.from(canonicalJson(each)).toString('base64url')).join('.');
  const header = { alg: 'ES256', typ: WRITER_TYPE };

  const attack =
    (certificate: string | undefined) =>
    async (ask: Ask): Promise<void> => {
      if (certificate !== undefined)
        await ask('insert into log_writer (id, certificate) values (?, ?)', ['forged', certificate]);
      const batch = { log, writer: 'forged', counter: 1, follows: 0, since: 1, leaves: [leafHash(forged)] };
      await insertEntries(ask, end, [forged]);
      await insertBatch(ask, end, 1, { ...batch, signature: sign(null, batchBytes(batch), privateKey) });
    };

  it.each<[string, () => Promise<string | undefined>]>([
    ['without a certificate', () => Promise.resolve(undefined)],
    ['certified by a key of its own', () => sealed(writerInput(claims), softwareCertifier())],
    ['certified for another log', () => sealed(writerInput({ ...claims, aud: `other${log}` }))],
    [
      'with a statement of another kind by the identity key',
      () => sealed(input({ ...header, typ: 'escrowd-history+jwt' }, claims)),
    ],
    ['with a certificate that says more', () => sealed(input(header, { ...claims, role: 'admin' }))],
    ['with a certificate of another writer', () => sealed(writerInput({ ...claims, sub: 'other' }))],
    ['with the unsigned form', () => Promise.resolve(`${input({ ...header, alg: 'none' }, claims)}.`)],
  ])('%s', async (_what, make) => {
    const certificate = await make();
    expect(await tried(daemonRole, attack(certificate), checked)).toBe(
      "LogDamaged: the writer forged has no certificate of this log's",
    );
    expect(await tried(daemonRole, attack(certificate), unchecked)).toBe('7 entries');
  });

  it('and one that it did certify is believed: these are attacks for that reason alone', async () => {
    const certificate = await sealed(writerInput(claims));
    expect(await tried(daemonRole, attack(certificate), checked)).toBe('7 entries');
  });
});

/** The newest batch as it stands there. */
async function newestBatch(ask: Ask): Promise<Required<Signed>> {
  const [row] = await ask<{
    writer: string;
    counter: string;
    follows: string;
    since: string;
    signature: Uint8Array;
  }>('select writer, counter, follows, since, signature from log_batch order by first desc limit 1');
  if (row === undefined) throw new Error('no batch');
  const { counter, follows, since, ...same } = row;
  return { ...same, counter: Number(counter), follows: Number(follows), since: Number(since) };
}

async function newestEntries(ask: Ask): Promise<readonly Uint8Array[]> {
  const rows = await ask<{ entry: Uint8Array }>('select entry from log_entry where seq >= ? order by seq', [
    end - 2,
  ]);
  return rows.map(({ entry }) => entry);
}

describe('what a daemon wrote and was put there again', () => {
  it('with its own number is refused by the database', async () => {
    await expect(
      tried(
        daemonRole,
        async (ask) => {
          const [batch, entries] = [await newestBatch(ask), await newestEntries(ask)];
          await insertEntries(ask, end, entries);
          await insertBatch(ask, end, 2, batch);
        },
        checked,
      ),
    ).rejects.toMatchObject({ cause: { constraint: 'log_batch_writer_counter_key' } });
  });

  it('with another number is found by its signature', async () => {
    const attack = async (ask: Ask): Promise<void> => {
      const [batch, entries] = [await newestBatch(ask), await newestEntries(ask)];
      const counter = batch.counter + 1;
      await insertEntries(ask, end, entries);
      await insertBatch(ask, end, 2, { ...batch, counter });
    };
    expect(await tried(daemonRole, attack, checked)).toMatch(
      /^LogDamaged: the 2 entries from 10 on are not those/,
    );
    expect(await tried(daemonRole, attack, unchecked)).toBe('8 entries');
  });

  it('with its own number, by the schema’s owner, is found by that', async () => {
    const attack = async (ask: Ask): Promise<void> => {
      await ask('alter table log_batch drop constraint log_batch_writer_counter_key');
      const [batch, entries] = [await newestBatch(ask), await newestEntries(ask)];
      await insertEntries(ask, end, entries);
      await insertBatch(ask, end, 2, batch);
    };
    expect(await tried(ownerRole, attack, checked)).toMatch(
      /^LogDamaged: the entries from 10 on were written before/,
    );
    expect(await tried(ownerRole, attack, unchecked)).toBe('8 entries');
  });
});

describe('what a daemon wrote and the schema’s owner changed before it was in a tree is found', () => {
  const freely = async (ask: Ask): Promise<void> => {
    for (const table of ['log_entry', 'log_batch', 'log_writer', 'log_unsigned'])
      await ask(`alter table ${table} disable trigger all`);
  };

  it.each<[string, readonly string[], RegExp]>([
    [
      'an entry was edited',
      [`update log_entry set entry = entry || 'x' where seq = 5`],
      /the 2 entries from 4 on are not those/,
    ],
    [
      'two entries of a batch changed places',
      [
        'update log_entry set seq = 100 where seq = 4',
        'update log_entry set seq = 4 where seq = 5',
        'update log_entry set seq = 5 where seq = 100',
      ],
      /the 2 entries from 4 on are not those/,
    ],
    ['an entry is gone', ['delete from log_entry where seq = 6'], /the entry 6 is gone/],
    [
      'an entry is gone and the others closed up',
      ['delete from log_entry where seq = 6', 'update log_entry set seq = seq - 1 where seq > 6'],
      /the 2 entries from 6 on are not those|cut off/,
    ],
    [
      'a batch is gone and the others closed up',
      [
        'delete from log_entry where seq in (6, 7)',
        'delete from log_batch where first = 6',
        'update log_entry set seq = seq - 2 where seq > 7',
        'update log_batch set first = first - 2 where first > 7',
      ],
      /before the entries from 6 on a batch of the same daemon is missing/,
    ],
    [
      'two batches changed places',
      [
        'update log_entry set seq = seq + 100 where seq in (4, 5)',
        'update log_batch set first = 104 where first = 4',
        'update log_entry set seq = seq - 2 where seq in (6, 7)',
        'update log_batch set first = 4 where first = 6',
        'update log_entry set seq = seq - 98 where seq > 100',
        'update log_batch set first = 6 where first = 104',
      ],
      /a batch of the same daemon is missing|were written before/,
    ],
    [
      'a batch has no signature any more',
      ['delete from log_batch where first = 6'],
      /the entry 6 was not written by a daemon/,
    ],
    [
      'a batch says that it is longer',
      ['update log_batch set count = 4 where first = 6'],
      /the 4 entries from 6 on are not those/,
    ],
    [
      'a batch says that it is by another writer',
      [`update log_batch set writer = 'other' where first = 6`],
      /the writer other has no certificate/,
    ],
    [
      'a batch has another number',
      ['update log_batch set counter = counter + 1000 where first = 8'],
      /the 2 entries from 8 on are not those/,
    ],
    [
      'a batch says that it is behind another one',
      ['update log_batch set follows = follows - 1 where first = 8'],
      /the 2 entries from 8 on are not those/,
    ],
    [
      'a batch says that more is open',
      ['update log_batch set since = since - 1 where first = 8'],
      /the 2 entries from 8 on are not those/,
    ],
    [
      'a signature was changed',
      [
        `update log_batch set signature = set_byte(signature, 3, 255 - get_byte(signature, 3)) where first = 8`,
      ],
      /the 2 entries from 8 on are not those/,
    ],
    [
      'the writer has another certificate',
      [`update log_writer set certificate = replace(certificate, '.', '.A')`],
      /has no certificate of this log/,
    ],
    ['the writer has none', ['delete from log_writer'], /has no certificate of this log/],
  ])('%s', async (_what, changes, found) => {
    const attack = async (ask: Ask): Promise<void> => {
      await freely(ask);
      for (const change of changes) await ask(change);
    };
    expect(await tried(ownerRole, attack, checked)).toMatch(found);
    expect(await tried(ownerRole, attack, unchecked)).toMatch(/^[456] entries$/);
  });

  it('has a row for every column', async () => {
    const rows = await query<{ name: string }>(
      server.owner,
      `select table_name || '.' || column_name as name from information_schema.columns
       where table_name in ('log_batch', 'log_writer', 'log_unsigned') order by 1`,
    );
    expect(rows.map(({ name }) => name)).toEqual([
      'log_batch.count',
      'log_batch.counter',
      'log_batch.first',
      'log_batch.follows',
      'log_batch.signature',
      'log_batch.since',
      'log_batch.writer',
      'log_unsigned.id',
      'log_unsigned.size',
      'log_writer.certificate',
      'log_writer.id',
    ]);
  });
});

describe('where the entries without a writer end', () => {
  it.each([
    ['changed', 'update log_unsigned set size = 1000'],
    ['taken away', 'delete from log_unsigned'],
    ['said again', 'insert into log_unsigned (id, size) values (2, 1000)'],
  ])('cannot be %s by the daemon’s role', async (_what, change) => {
    await expect(query(server.daemon, change)).rejects.toMatchObject({ code: '42501' });
  });
});

it('a signature of a batch is of no use for random bytes', async () => {
  const { writer, counter } = await daemonRole.transaction(newestBatch);
  const attack = async (ask: Ask): Promise<void> => {
    await insertEntries(ask, end, [forged]);
    await insertBatch(ask, end, 1, {
      writer,
      counter: counter + 1,
      signature: chance('signature of nobody').bytes(64),
    });
  };
  expect(await tried(daemonRole, attack, checked)).toMatch(/the 1 entries from 10 on are not those/);
});
