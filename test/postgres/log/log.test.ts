import { emptyAnchor } from '../../../src/log/anchor.js';
import { canonicalHash } from '../../../src/escrow/records/digests.js';
import { EscrowError } from '../../../src/escrow/records/errors.js';
import type { Subject } from '../../../src/log/entry/entry.ts';
import type { CheckpointSigner } from '../../../src/escrow/ports/signers.ts';
import type { Anchorage } from '../../../src/escrow/ports/log.ts';
import type { Anchor } from '../../../src/log/anchor.js';
import { openCheckpoint } from '../../../src/log/note/checkpoint.js';
import { decodeEntry } from '../../../src/log/entry/entry.js';
import { Frontier, leafHash } from '../../../src/log/tree/merkle.js';
import { verifyConsistency, verifyInclusion } from '../../../src/log/tree/proof.js';
import { rootOf } from '../../../src/log/tree/prover.js';
import { tileHashReader, type TileReader } from '../../../src/log/tree/tiles.js';
import { LogDamaged } from '../../../src/postgres/faults.js';
import type { Database } from '../../../src/postgres/database.js';
import { query, startTestServer, type TestServer } from '../../support/postgres.js';
import { softwareSigner } from '../../support/signer.js';
import { anchorage, openOn } from '../fixtures.js';
import { aRecovery, writeOf } from '../records.js';
import { letPass, until } from '../../support/waiting.js';
import { LIMITS_MS } from '../../support/limits.js';

jest.setTimeout(LIMITS_MS.database);

const signer = softwareSigner();
let server: TestServer;
let open: Database[];

beforeAll(async () => {
  server = await startTestServer();
});
beforeEach(async () => {
  open = [];
  await server.reset();
});
afterEach(() => Promise.all(open.map((database) => database.close())));
afterAll(() => server.stop());

/** Opens the database. It is closed after the test, whatever comes of that, and may have been before. */
async function opened(
  options: Parameters<typeof openOn>[2] = {},
  by: CheckpointSigner = signer,
): Promise<Database> {
  const database = await openOn(server, by, options);
  open.push(database);
  return database;
}

async function append(database: Database, count: number): Promise<void> {
  await Promise.all(Array.from({ length: count }, () => database.journal.append(writeOf('alone'))));
}

/** The roots of the log's trees by size, from the entries alone. */
async function rootsOf(database: Database): Promise<{ leaves: Uint8Array[]; roots: Uint8Array[] }> {
  const leaves: Uint8Array[] = [];
  const frontier = Frontier.empty();
  const roots = [frontier.root()];
  for (const { entry } of await database.log.entries(0, 100_000)) {
    leaves.push(leafHash(entry));
    frontier.append(leafHash(entry));
    roots.push(frontier.root());
  }
  return { leaves, roots };
}

/** Runs statements as a superuser would who has switched the guards off. */
async function tamper(...statements: readonly string[]): Promise<void> {
  const tables = ['log_entry', 'log_tile', 'log_checkpoint', 'policy'];
  for (const table of tables) await query(server.owner, `alter table ${table} disable trigger all`);
  for (const sql of statements) await query(server.owner, sql);
  for (const table of tables)
    await query(server.owner, `alter table ${table} enable always trigger append_only`);
}

describe('the tree', () => {
  it('has a checkpoint as soon as anybody asks, once there is an entry', async () => {
    const database = await opened({ checkpointIntervalMs: 60_000 });
    expect(await database.log.checkpoint()).toBeUndefined();
    await append(database, 1);
    expect(await database.log.checkpoint()).toMatchObject({ size: 1 });
  });

  it('proves every entry, and every size from every smaller one', async () => {
    const database = await opened();
    await append(database, 600);
    const { leaves, roots } = await rootsOf(database);
    const proven = await database.log.inclusion(599);
    expect(openCheckpoint(proven.checkpoint, signer.vkey, signer.origin)).toMatchObject({ size: 600 });
    for (let index = 0; index < 600; index += 1) {
      const { checkpoint, size, proof } = await database.log.inclusion(index);
      const { root } = openCheckpoint(checkpoint, signer.vkey, signer.origin);
      verifyInclusion({ index, size, leafHash: leaves[index] ?? new Uint8Array(), proof, root });
    }
    const sizes = [0, 1, 2, 3, 255, 256, 257, 300, 511, 512, 513, 599, 600];
    for (const newSize of sizes) {
      for (const oldSize of sizes.filter((size) => size <= newSize)) {
        const proof = await database.log.consistency(oldSize, newSize);
        const [oldRoot = new Uint8Array(), newRoot = new Uint8Array()] = [roots[oldSize], roots[newSize]];
        verifyConsistency({ oldSize, newSize, oldRoot, newRoot, proof });
      }
    }
  });

  it('gives tiles from which anybody computes its root, and none that is not under the checkpoint', async () => {
    const database = await opened({ checkpointIntervalMs: 60_000 });
    await append(database, 700);
    const { size, checkpoint } = await database.log.inclusion(699);
    const read: TileReader = async (level, index, width) => {
      const tile = await database.log.tile({ level, index, width });
      if (tile === undefined) throw new Error('no such tile');
      return tile;
    };
    const { root } = openCheckpoint(checkpoint, signer.vkey, signer.origin);
    expect(Buffer.from(await rootOf(tileHashReader(size, read), size))).toEqual(Buffer.from(root));
    await append(database, 1); // not integrated yet: no tile tells of it
    const there = async (level: number, index: number, width: number): Promise<boolean> =>
      (await database.log.tile({ level, index, width })) !== undefined;
    expect([await there(0, 2, 188), await there(0, 2, 189), await there(0, 3, 1)]).toEqual([
      true,
      false,
      false,
    ]);
    expect([await there(1, 0, 2), await there(1, 0, 3), await there(2, 0, 1)]).toEqual([true, false, false]);
    // a narrower tile is the beginning of the wider one
    const [narrow, wide] = [await read(0, 0, 5), await read(0, 0, 256)];
    expect(Buffer.from(narrow)).toEqual(Buffer.from(wide.subarray(0, 160)));
  });

  it('proves several entries under one checkpoint, also under an older one that was given out', async () => {
    const database = await opened({ checkpointIntervalMs: 60_000 });
    await append(database, 300);
    const older = await database.log.inclusion(299);
    await append(database, 300);
    const { leaves, roots } = await rootsOf(database);
    const indexes = [599, 256, 255, 3, 0];
    const check = async (
      wanted: number | undefined,
      which: readonly number[],
      size: number,
    ): Promise<void> => {
      const { checkpoint = '', proofs } = await database.log.inclusions(which, wanted);
      const opening = openCheckpoint(checkpoint, signer.vkey, signer.origin);
      expect(opening.size).toBe(size);
      expect(Buffer.from(opening.root)).toEqual(Buffer.from(roots[size] ?? []));
      which.forEach((index, place) => {
        const leaf = leaves[index] ?? new Uint8Array();
        verifyInclusion({ index, size, leafHash: leaf, proof: proofs[place] ?? [], root: opening.root });
      });
    };
    await check(undefined, indexes, 600);
    await check(older.size, indexes.slice(1), 300);
    await check(undefined, [], 600);
    const refused = { code: 'request-malformed' };
    await expect(database.log.inclusions(indexes, older.size)).rejects.toMatchObject(refused);
    await expect(database.log.inclusions([0], 299)).rejects.toMatchObject(refused);
  });

  it('has no proof of what is not there', async () => {
    const database = await opened();
    expect(await database.log.checkpoint()).toBeUndefined();
    expect(await database.log.inclusions([], undefined)).toEqual({ checkpoint: undefined, proofs: [] });
    expect(await database.log.tile({ level: 0, index: 0, width: 1 })).toBeUndefined();
    await append(database, 2);
    await database.log.inclusion(1);
    const refused = { code: 'request-malformed' };
    await expect(database.log.inclusion(2)).rejects.toMatchObject(refused);
    await expect(database.log.consistency(1, 3)).rejects.toMatchObject(refused);
    await expect(database.log.consistency(2, 1)).rejects.toMatchObject(refused);
  });

  it('is integrated by two daemons without contradiction, while both append', async () => {
    const [one, two] = [await opened({ checkpointIntervalMs: 0 }), await opened({ checkpointIntervalMs: 0 })];
    await Promise.all(
      [one, two].map(async (database) => {
        for (let round = 0; round < 30; round += 1) {
          const { index } = await database.journal.append(writeOf('alone'));
          const { checkpoint, size } = await database.log.inclusion(index);
          expect(size).toBeGreaterThan(index);
          expect(openCheckpoint(checkpoint, signer.vkey, signer.origin).size).toBe(size);
        }
      }),
    );
    const { roots } = await rootsOf(one);
    const stored = await query<{ note: string }>(
      server.owner,
      'select note from log_checkpoint order by size',
    );
    expect(stored.length).toBeGreaterThan(10);
    for (const { note } of stored) {
      const { size, root } = openCheckpoint(note, signer.vkey, signer.origin);
      expect(Buffer.from(root)).toEqual(Buffer.from(roots[size] ?? []));
    }
  });

  it('does not look damaged to a daemon that starts while others append and integrate', async () => {
    const busy = await opened({ checkpointIntervalMs: 0 });
    const over = new AbortController();
    const appending = (async () => {
      while (!over.signal.aborted) await busy.journal.append(writeOf('alone'));
    })();
    for (let start = 0; start < 10; start += 1) await (await opened()).close();
    over.abort();
    await appending;
  });

  it('follows appends without anybody asking', async () => {
    const database = await opened({ checkpointIntervalMs: 20 });
    await append(database, 3);
    await until(async () => (await database.log.checkpoint())?.size === 3);
  });

  it('follows what was appended while it was being signed, without anybody asking', async () => {
    let goOn: () => void = () => undefined;
    const stands = new Promise<void>((resolve) => (goOn = resolve));
    let asked: () => void = () => undefined;
    const isAsked = new Promise<void>((resolve) => (asked = resolve));
    const sign = async (text: Uint8Array): Promise<Uint8Array> => {
      asked();
      await stands;
      return signer.sign(text);
    };
    const database = await opened({ checkpointIntervalMs: 1 }, { ...signer, sign });
    await append(database, 1);
    await isAsked;
    await append(database, 1);
    await letPass(50);
    goOn();
    await until(async () => {
      const [row] = await query(server.owner, 'select max(size)::int as size from log_checkpoint');
      return row?.['size'] === 2;
    });
  });

  it('is brought up to date at the next start when the signer failed', async () => {
    const broken = { ...signer, sign: () => Promise.reject(new Error('the token is away')) };
    const database = await opened({ timeouts: { proofMs: 200 } }, broken);
    await append(database, 3);
    await expect(database.log.inclusion(0)).rejects.toMatchObject({ code: 'log-unavailable' });
    expect(await database.health()).toMatchObject({
      answers: true,
      entries: 3,
      checkpointed: 0,
      integratorFault: 'the token is away',
    });
    await database.close();
    expect((await (await opened()).log.inclusion(2)).size).toBe(3);
  });

  it('is never signed with a signature that does not verify', async () => {
    const other = softwareSigner();
    const confused = { ...signer, sign: (text: Uint8Array) => other.sign(text) };
    const database = await opened({ timeouts: { proofMs: 200 } }, confused);
    await append(database, 1);
    await expect(database.log.inclusion(0)).rejects.toMatchObject({ code: 'log-unavailable' });
    expect(await query(server.owner, 'select from log_checkpoint')).toHaveLength(0);
  });
});

describe('entries', () => {
  it('come in order, from where they are asked for', async () => {
    const database = await opened();
    await append(database, 10);
    const some = await database.log.entries(4, 3);
    expect(some.map(({ index }) => index)).toEqual([4, 5, 6]);
    expect(await database.log.entries(10, 5)).toEqual([]);
  });

  it('about a subject come newest first, page by page, and no others', async () => {
    const database = await opened();
    for (let at = 0; at < 7; at += 1) {
      await database.journal.append(writeOf('alone', { about: { owner: 'anna', key: `key_${at % 2}` } }));
      await database.journal.append(writeOf('alone', { about: { owner: 'bert', key: 'key_0' } }));
    }
    const seen: number[] = [];
    let after: string | undefined;
    do {
      const page = await database.log.entriesAbout({ owner: 'anna' }, { after, limit: 3 });
      expect(page.items.length).toBeLessThanOrEqual(3);
      seen.push(...page.items.map(({ index }) => index));
      after = page.next;
    } while (after !== undefined);
    expect(seen).toEqual([12, 10, 8, 6, 4, 2, 0]);
    const both = await database.log.entriesAbout(
      { owner: 'anna', key: 'key_1' },
      { after: undefined, limit: 9 },
    );
    expect(both.items.map(({ index }) => index)).toEqual([10, 6, 2]);
  });

  it('about any subject are the same ones, in the index and not in it yet, from either side of any page', async () => {
    const first = await opened();
    const subjects = Array.from({ length: 1300 }, (_, at) => ({
      ...(at % 2 === 0 ? { owner: at % 6 === 0 ? 'anna' : 'bert' } : {}),
      ...(at % 5 === 0 ? { key: `key_${at % 3}` } : {}),
      ...(at % 7 === 0 ? { recovery: 'rec_1' } : {}),
      ...(at % 400 === 1 ? { grant: 'grant_1' } : {}),
    }));
    const appendAll = async (database: Database, all: typeof subjects): Promise<void> => {
      for (const about of all) void database.journal.append(writeOf('alone', { about }));
      await database.journal.append(writeOf('alone'));
    };
    await appendAll(first, subjects.slice(0, 700));
    await first.close();
    const indexed = await query(server.owner, 'select size::int from log_subject_head');
    expect(indexed).toEqual([{ size: 701 }]);
    const second = await opened({ checkpointIntervalMs: 60_000 });
    await appendAll(second, subjects.slice(700));
    const entries = await second.log.entries(0, 10_000);
    const found = async (about: Subject, limit: number, below?: number): Promise<readonly number[]> => {
      const places: number[] = [];
      let after: string | undefined;
      do {
        const page = await second.log.entriesAbout(about, { after, limit }, below);
        places.push(...page.items.map(({ index }) => index));
        after = page.next;
      } while (after !== undefined);
      return places;
    };
    const expected = (about: Subject, below = Infinity): readonly number[] =>
      entries
        .filter(({ index, entry }) => {
          const { subject } = decodeEntry(entry);
          return (
            index < below &&
            Object.entries(about).every(([name, id]) => subject[name as keyof Subject] === id)
          );
        })
        .map(({ index }) => index)
        .reverse();
    const asked: readonly Subject[] = [
      { owner: 'anna' },
      { owner: 'bert', key: 'key_0' },
      { key: 'key_1', recovery: 'rec_1' },
      { grant: 'grant_1' },
      { owner: 'nobody' },
      {},
    ];
    for (const about of asked) {
      for (const below of [undefined, 0, 512, 513, 701, 702, 900]) {
        expect(await found(about, 150, below)).toEqual(expected(about, below));
      }
    }
    expect(expected({ key: 'key_1', recovery: 'rec_1' }).length).toBeGreaterThan(10);
    expect(await found({ grant: 'grant_1' }, 1)).toEqual(expected({ grant: 'grant_1' }));
  });

  it('about a key are those about several that have it among them as well, in their order', async () => {
    const first = await opened({ checkpointIntervalMs: 60_000 });
    const abouts = [
      { owner: 'anna', key: 'key_1' },
      { owner: 'anna', keys: ['key_1', 'key_2'], recovery: 'rec_1' },
      { owner: 'bert', keys: ['key_1'], recovery: 'rec_2' },
      { owner: 'anna', keys: ['key_2', 'key_3'], recovery: 'rec_3' },
      { owner: 'anna', key: 'key_1', recovery: 'rec_1', grant: 'grant_1' },
      { owner: 'anna' },
      // a request that was refused before there was one
      { owner: 'anna', keys: ['key_1'] },
    ];
    for (const about of abouts) await first.journal.append(writeOf('alone', { about }));
    const indexesOf = async (
      database: Database,
      about: Pick<Subject, 'owner' | 'key'>,
      limit: number,
    ): Promise<number[]> => {
      const seen: number[] = [];
      let after: string | undefined;
      do {
        const page = await database.log.entriesAbout(about, { after, limit });
        seen.push(...page.items.map(({ index }) => index));
        after = page.next;
      } while (after !== undefined);
      return seen;
    };
    const expectAll = async (database: Database): Promise<void> => {
      for (const limit of [1, 2, 9]) {
        const found = (about: Pick<Subject, 'owner' | 'key'>): Promise<number[]> =>
          indexesOf(database, about, limit);
        expect(await found({ owner: 'anna', key: 'key_1' })).toEqual([6, 4, 1, 0]);
        expect(await found({ owner: 'anna', key: 'key_2' })).toEqual([3, 1]);
        expect(await found({ key: 'key_1' })).toEqual([6, 4, 2, 1, 0]);
        expect(await found({ owner: 'anna', key: 'key_4' })).toEqual([]);
      }
    };
    await expectAll(first);
    await first.close();
    expect(await query(server.owner, 'select size::int from log_subject_head')).toEqual([{ size: 7 }]);
    await expectAll(await opened());
  });

  it('have the filing of a recovery among them', async () => {
    const database = await opened();
    const { id: recovery } = aRecovery();
    const about = { recovery };
    const filing = writeOf('opens', { about, act: 'recovery.request' });
    expect(await database.log.filing(recovery)).toBeUndefined();
    await database.journal.append(filing);
    expect(await database.log.filing(recovery)).toBeUndefined();
    const done = writeOf('closes', { id: filing.id, about, act: 'recovery.request' });
    const { index } = await database.journal.append(done);
    const other = writeOf('opens', { about, act: 'recovery.approve' });
    await database.journal.append(other);
    await database.journal.append(writeOf('closes', { id: other.id, about, act: 'recovery.approve' }));
    expect(await database.log.filing(recovery)).toEqual({ index, entry: Buffer.from(done.entry) });
  });
});

describe('a log is refused at start', () => {
  async function filled(count: number): Promise<void> {
    const database = await opened();
    await append(database, count);
    await database.log.inclusion(count - 1);
    await database.close();
  }

  async function refusedWith(message: RegExp): Promise<void> {
    const refusal = await opened().catch((error: unknown) => error);
    expect(refusal).toBeInstanceOf(LogDamaged);
    expect((refusal as LogDamaged).message).toMatch(message);
  }

  it('not when nothing was done to it', async () => {
    await filled(300);
    await opened();
  });

  it.each([299, 5])('when entry %d was edited', async (seq) => {
    await filled(300);
    await tamper(`update log_entry set entry = entry || 'x' where seq = ${seq}`);
    await refusedWith(
      seq === 5 ? /one of the entries 0 to 255 is not what was logged/ : /not those that were signed/,
    );
  });

  it('when two entries were swapped', async () => {
    await filled(10);
    await tamper(
      'update log_entry set seq = 100 where seq = 3',
      'update log_entry set seq = 3 where seq = 4',
      'update log_entry set seq = 4 where seq = 100',
    );
    await refusedWith(/not those that were signed/);
  });

  it('when an entry is gone from the middle', async () => {
    await filled(10);
    await tamper('delete from log_entry where seq = 3');
    await refusedWith(/the entry 3 is gone/);
  });

  it('when its last entry is gone', async () => {
    await filled(10);
    await tamper('delete from log_entry where seq = 9');
    await refusedWith(/the log's head says 10 entries, and they end at 9/);
  });

  it('when it was cut off, head and all: the checkpoint is newer than the entries', async () => {
    await filled(10);
    await tamper('delete from log_entry where seq >= 7', 'update log_head set size = 7');
    await refusedWith(/the newest checkpoint is over 10 entries, and the log has 7/);
  });

  it('when the frontier was changed', async () => {
    await filled(10);
    await tamper(`update log_frontier set frontier = set_byte(frontier, 20, 1 - get_byte(frontier, 20) % 2)`);
    await refusedWith(/the tree of 10 entries is not the one that was signed/);
  });

  it('when the frontier went back', async () => {
    await filled(10);
    await tamper(`update log_frontier set size = 0, frontier = '\\x0000000000000000'`);
    await refusedWith(/the tree has 0 entries, and the newest checkpoint is over 10/);
  });

  it('when a stored hash was changed', async () => {
    await filled(300);
    await tamper(`update log_tile set hash = sha256(hash)`);
    await refusedWith(/not those that were signed/);
  });

  it('when a stored hash is gone', async () => {
    await filled(300);
    await tamper(`delete from log_tile`);
    await refusedWith(/the log lacks 1 of the hashes of level 1/);
  });

  it('when the checkpoint is by another key', async () => {
    await filled(10);
    const refusal = await opened({}, softwareSigner()).catch((error: unknown) => error);
    expect(refusal).toBeInstanceOf(LogDamaged);
  });

  it('when the checkpoint is of another log', async () => {
    await filled(10);
    const refusal = await opened({}, { ...signer, origin: 'other.test/log' }).catch(
      (error: unknown) => error,
    );
    expect(refusal).toBeInstanceOf(LogDamaged);
  });
});

describe('an old database', () => {
  const policy = { version: 1, hash: canonicalHash({ version: 1 }) };

  async function anchoredAfter(count: number): Promise<Anchorage & { anchor: Anchor }> {
    const kept = anchorage();
    const database = await opened({ anchorage: kept });
    await append(database, count);
    await query(
      server.owner,
      `insert into policy (version, hash, document, signatures) values (1, '${policy.hash}', '{"version":1}', '{}')`,
    );
    await database.close();
    return kept;
  }

  it('is what its owner had at the end: tree and policy are remembered when the daemon stops', async () => {
    const kept = await anchoredAfter(300);
    expect(kept.anchor).toMatchObject({ size: 300, policy, lost: undefined });
    await opened({ anchorage: kept });
  });

  it('is remembered while the daemon runs, at intervals', async () => {
    const kept = anchorage();
    const database = await opened({ anchorage: kept, anchorMs: 5 });
    await append(database, 1);
    await database.log.inclusion(0);
    await until(() => kept.anchor.size > 0);
    expect(kept.anchor.size).toBe(1);
  });

  it('is refused, with the size that it has and the size that it should have', async () => {
    const kept = await anchoredAfter(300);
    const later = { ...kept.anchor, size: 300 + 12 };
    await expect(opened({ anchorage: anchorage(later) })).rejects.toThrow(
      /is over 300 entries, and the token remembers one over 312: this is an older copy/,
    );
  });

  it('is refused when it has grown again since, into another log', async () => {
    const kept = await anchoredAfter(300);
    const other = { ...kept.anchor, size: 299 };
    const refusal = await opened({ anchorage: anchorage(other) }).catch((error: unknown) => error);
    expect(refusal).toBeInstanceOf(LogDamaged);
    expect((refusal as LogDamaged).message).toMatch(/the first 299 of the 300 entries .* another log/);
  });

  it.each([
    ['is gone', 'delete from policy'],
    ['says something else under the same hash', `update policy set document = '{"version":2}'`],
  ])('is refused when the policy that was in force %s', async (_what, change) => {
    const kept = await anchoredAfter(3);
    await tamper(change);
    await expect(opened({ anchorage: kept })).rejects.toThrow(/does not hold version 1 of the policy/);
  });

  it('that people accepted stays remembered, whatever fails after the database was opened, until the log is known to say it', async () => {
    const lost = { size: 400, root: Buffer.alloc(32, 7) };
    const kept = anchorage({ ...emptyAnchor, lost });
    // the start fails before the loss is recorded; another daemon writes; both stop
    for (let start = 0; start < 2; start += 1) {
      const database = await opened({ anchorage: kept, anchorMs: 5 });
      expect(database.lost).toEqual(lost);
      await append(database, 10);
      await database.close();
      expect(kept.anchor).toMatchObject({ size: 10 * (start + 1), lost });
    }
    const database = await opened({ anchorage: kept });
    await append(database, 1);
    database.lossRecorded({ ...lost, size: 399 }, 20); // another one
    await database.close();
    expect(kept.anchor).toMatchObject({ size: 21, lost });
    const next = await opened({ anchorage: kept });
    const { index } = await next.journal.append(writeOf('alone'));
    next.lossRecorded(lost, index);
    await next.close();
    expect(kept.anchor).toMatchObject({ size: 22, lost: undefined });
  });

  it('is not opened while the token cannot say what it remembers', async () => {
    const silentToken = {
      ...anchorage(),
      readAnchor: () => Promise.reject(new EscrowError('token-unavailable')),
    };
    await expect(opened({ anchorage: silentToken })).rejects.toMatchObject({
      code: 'token-unavailable',
    });
  });
});

describe('a copy of the database beside which the token is used on another one', () => {
  const foreign = {
    size: 5,
    root: Buffer.alloc(32, 9),
    policy: undefined,
    unsigned: undefined,
    lost: undefined,
  };

  it.each([
    ['is behind', 3],
    ['is ahead', 10],
  ])(
    'is found when it %s, at the next anchoring: nothing is remembered or appended any more',
    async (_how, count) => {
      const kept = anchorage();
      const database = await opened({
        anchorage: kept,
        anchorMs: 5,
        timeouts: { appendMs: 500 },
      });
      await append(database, count);
      // nothing is on its way to the token any more, which would stand in the place of the foreign one
      await database.anchored(count - 1);
      kept.anchor = foreign;
      expect(await database.failed).toBeInstanceOf(LogDamaged);
      await expect(database.requireOwnToken()).rejects.toBeInstanceOf(LogDamaged);
      await expect(database.journal.append(writeOf('alone'))).rejects.toMatchObject({
        code: 'log-unavailable',
      });
      await database.close();
      expect(kept.anchor).toBe(foreign);
    },
  );

  it('is found before anything is destroyed in the token', async () => {
    const kept = anchorage();
    const database = await opened({ anchorage: kept });
    await append(database, 3);
    await database.requireOwnToken();
    kept.anchor = foreign;
    await expect(database.requireOwnToken()).rejects.toBeInstanceOf(LogDamaged);
    expect(await database.failed).toBeInstanceOf(LogDamaged);
    await database.close();
  });

  it('is not taken for one when another daemon of the same database has remembered more', async () => {
    const kept = anchorage();
    const one = await opened({ anchorage: kept });
    const two = await opened({ anchorage: kept });
    await append(one, 3);
    await one.anchored(2);
    expect(kept.anchor.size).toBe(3);
    await two.requireOwnToken();
    await append(two, 1);
    await two.anchored(3);
    expect(kept.anchor.size).toBe(4);
    await one.requireOwnToken();
    await one.close();
    await two.close();
  });
});

describe('while the daemon runs', () => {
  it('a tree that is not the one that was signed is not signed', async () => {
    const database = await opened({ timeouts: { proofMs: 200 }, checkpointIntervalMs: 60_000 });
    await append(database, 10);
    await database.log.inclusion(9);
    await tamper(
      `update log_frontier set frontier = set_byte(frontier, 20, (get_byte(frontier, 20) + 1) % 256)`,
    );
    const { index } = await database.journal.append(writeOf('alone'));
    await expect(database.log.inclusion(index)).rejects.toMatchObject({
      code: 'log-unavailable',
      cause: { name: 'LogDamaged' },
    });
    expect(await database.log.checkpoint()).toMatchObject({ size: 10 });
  });

  it('a log whose checkpoint is gone is not signed again', async () => {
    const database = await opened({ timeouts: { proofMs: 200 }, checkpointIntervalMs: 60_000 });
    await append(database, 10);
    await database.log.inclusion(9);
    await tamper(
      'delete from log_checkpoint',
      `update log_frontier set size = 0, frontier = '\\x0000000000000000'`,
      `update log_entry set entry = entry || 'x' where seq = 5`,
    );
    await expect(database.log.inclusion(9)).rejects.toMatchObject({ code: 'log-unavailable' });
    expect(await query(server.owner, 'select from log_checkpoint')).toHaveLength(0);
  });
});
