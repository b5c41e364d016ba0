import { LogState } from '../../../src/escrow/logged/logState.js';
import { EscrowError } from '../../../src/escrow/records/errors.js';
import type { AsOf } from '../../../src/escrow/logged/logFacts.js';
import { Ledger } from '../../../src/escrow/ledger/ledger.js';
import type { Token } from '../../../src/escrow/ports/token.js';
import type { Journal } from '../../../src/escrow/ports/journal.js';
import { openCheckpoint } from '../../../src/log/note/checkpoint.js';
import { anchorage, certifier, clock, openOn } from '../../postgres/fixtures.js';
import { writeOf } from '../../postgres/records.js';
import type { Database } from '../../../src/postgres/database.js';
import { query, startTestServer, type TestServer } from '../../support/postgres.js';
import { softwareSigner } from '../../support/signer.js';
import { composeDaemon, type DaemonOfLog, type LeftOut } from './daemonParts.js';
import { until } from '../../support/waiting.js';
import { LIMITS_MS } from '../../support/limits.js';
import { freshBytes } from '../../support/fresh.js';

jest.setTimeout(LIMITS_MS.database);

/*
 * What a daemon does when the database puts an entry into the log, or says that it has recorded what it has not: it stops at the
 * next checkpoint, whoever makes it, and nothing is signed over it. Each with its control: a daemon that lacks the one check.
 */

const signer = softwareSigner();
let server: TestServer;
let closing: (() => Promise<void>)[];

beforeAll(async () => {
  server = await startTestServer();
});
beforeEach(async () => {
  closing = [];
  await server.reset();
  await (await openOn(server, signer)).close();
});
afterEach(async () => {
  for (const close of closing.reverse()) await close();
});
afterAll(() => server.stop());

async function composed(leftOut: LeftOut): Promise<DaemonOfLog> {
  const daemon = await composeDaemon(server, { signer, certifier }, leftOut);
  closing.push(() => daemon.close());
  return daemon;
}

async function opened(options: Parameters<typeof openOn>[2] = {}): Promise<Database> {
  const database = await openOn(server, signer, options);
  closing.push(() => database.close());
  return database;
}

/** Appends one entry after the other, and says where each stands. */
async function append(
  daemon: { readonly journal: Pick<Journal, 'append'> },
  count: number,
): Promise<readonly number[]> {
  const indexes: number[] = [];
  for (let at = 0; at < count; at += 1) {
    const { index } = await daemon.journal.append(writeOf('alone'));
    indexes.push(index);
  }
  return indexes;
}

async function checkpoints(): Promise<readonly number[]> {
  const rows = await query<{ size: number }>(
    server.owner,
    'select size::int from log_checkpoint order by size',
  );
  return rows.map(({ size }) => size);
}

async function entries(): Promise<number> {
  const [row] = await query<{ count: number }>(server.owner, 'select count(*)::int as count from log_entry');
  return row?.count ?? NaN;
}

/** What the daemon's role can do by itself: an entry of a veto that nobody has made. */
async function insertVeto(): Promise<void> {
  const entry = Buffer.from(writeOf('alone', { act: 'recovery.veto' }).entry);
  await query(
    server.daemon,
    `with head as (update log_head set size = size + 1 where id = 1 returning size - 1 as seq)
     insert into log_entry (seq, id, part, entry) select seq, 'act_0', 'alone', $1 from head`,
    [entry],
  );
}

/** Has the schema's owner put another function in the place of `append_plain`, made of the one that stands there. */
async function replaceAppendPlain(change: (source: string) => string): Promise<void> {
  const [row] = await query<{ source: string }>(
    server.owner,
    `select pg_get_functiondef('append_plain'::regproc) as source`,
  );
  const source = row?.source ?? '';
  const changed = change(source);
  expect(changed).not.toBe(source);
  await query(server.owner, changed);
}

/** Answers as if it had recorded what it was given, at the place that is next. */
const forgetting = (source: string): string =>
  source.replace(
    /\n\s*update log_head h set[\s\S]*(?=return base)/,
    '\n select size into base from log_head where id = 1;\n ',
  );

const stopped = { code: 'log-unavailable', cause: { name: 'LogDamaged' } };

describe('an entry that the daemon’s role inserts', () => {
  it('stops the daemon, and is in no tree', async () => {
    const daemon = await composed('nothing');
    await append(daemon, 3);
    await daemon.integrator.covering(3, 2000);
    await insertVeto();
    await expect(daemon.integrator.covering(4, 500)).rejects.toMatchObject(stopped);
    expect((await daemon.damage.failed).message).toBe('the entry 3 was not written by a daemon');
    await expect(append(daemon, 1)).rejects.toMatchObject(stopped);
    expect(await checkpoints()).toEqual([3]);
  });

  it('is signed by a daemon that does not ask who wrote it', async () => {
    const daemon = await composed('the signatures of writers');
    await append(daemon, 3);
    await insertVeto();
    expect(await daemon.integrator.covering(4, 2000)).toMatchObject({ size: 4 });
  });

  it('stops a daemon that appends behind it, by itself', async () => {
    const database = await opened({ checkpointIntervalMs: 20 });
    await append(database, 1);
    await until(async () => (await checkpoints()).length > 0);
    await insertVeto();
    await append(database, 1).catch(() => undefined);
    expect((await database.failed).message).toBe('the entry 1 was not written by a daemon');
    expect(Math.max(...(await checkpoints()))).toBe(1);
  });

  it('keeps the next daemon from starting', async () => {
    await insertVeto();
    await expect(openOn(server, signer)).rejects.toThrow('the entry 0 was not written by a daemon');
  });
});

describe('a database that answers an append and', () => {
  it.each<[string, (source: string) => string, RegExp, number]>([
    // the index that is answered is the next one each time: two acts have the same
    [
      'gives the same index twice',
      forgetting,
      /gave the index 2 to new entries; it had given it away before/,
      2,
    ],
    [
      'records another entry',
      (source) => source.replace('u.part, u.entry,', `u.part, u.entry || '\\x20'::bytea,`),
      /the entry 2 is not what was written there/,
      1,
    ],
    [
      'records nothing, and counts',
      (source) => source.replace(/insert into log_entry[\s\S]*?;/, ''),
      /the entry 2 is gone/,
      1,
    ],
    [
      'leaves a place free',
      (source) =>
        source.replace('return base;', 'update log_head set size = size + 1 where id = 1; return base;'),
      /the entry 3 is gone/,
      2,
    ],
    [
      'answers a later index than it records at',
      (source) => source.replace('return base;', 'return base + 1;'),
      /not what was written there|written before|given it away|is gone/,
      2,
    ],
  ])('%s is found', async (_what, change, found, count) => {
    const daemon = await composed('nothing');
    await append(daemon, 2);
    await daemon.integrator.covering(2, 2000);
    await replaceAppendPlain(change);
    await append(daemon, count).catch(() => undefined);
    await daemon.integrator.covering(3, 500).catch(() => undefined);
    expect((await daemon.damage.failed).message).toMatch(found);
    await expect(append(daemon, 1)).rejects.toMatchObject(stopped);
    expect(await checkpoints()).toEqual([2]);
  });

  it('gives the same index twice: the second who is given it is not answered', async () => {
    const daemon = await composed('nothing');
    await append(daemon, 2);
    await replaceAppendPlain(forgetting);
    expect(await append(daemon, 1)).toEqual([2]);
    await expect(append(daemon, 1)).rejects.toMatchObject(stopped);
  });

  it('gives the same index twice is believed by a daemon that does not know its own leaves', async () => {
    const daemon = await composed('its own leaves');
    await append(daemon, 2);
    await replaceAppendPlain(forgetting);
    expect(await append(daemon, 3)).toEqual([2, 2, 2]);
    expect(await daemon.integrator.covering(2, 2000)).toMatchObject({ size: 2 });
    expect(await entries()).toBe(2);
    expect(daemon.damage.error).toBeUndefined();
  });

  it('records another entry is believed by a daemon that checks neither', async () => {
    const daemon = await composed('the signatures of writers');
    const blind = await composed('its own leaves');
    await append(blind, 2);
    await replaceAppendPlain((source) =>
      source.replace('u.part, u.entry,', `u.part, u.entry || '\\x20'::bytea,`),
    );
    await append(blind, 1);
    expect(await daemon.integrator.covering(3, 2000)).toMatchObject({ size: 3 });
  });
});

const none = (): undefined => undefined;
const attempted = (id: string) => ({ id, act: 'grant.sign', actor: 'app', subject: {}, grants: [] });
const nobody = (): readonly [] => [];
const nothingAgainst = (): AsOf => ({
  policyVersion: 0,
  request: undefined,
  isContended: false,
  isRepeated: false,
  isKeyTaken: false,
  isPolicyUnderWay: false,
  isResealUnderWay: false,
  useRefused: undefined,
  usesLeft: undefined,
});

describe('a use of the token, by a database that says it has recorded the attempt and has not', () => {
  /** How often the token was used for one act of signing, and what came of it. */
  async function usedFor(
    logged: 'proven' | undefined,
  ): Promise<{ readonly uses: number; readonly code: unknown }> {
    const daemon = await composed('nothing');
    await append(daemon, 2);
    await replaceAppendPlain(forgetting);
    let uses = 0;
    const token = {
      requireInService: () => undefined,
      lend: (_verbs: unknown, use: (lent: object) => Promise<unknown>) => {
        uses += 1;
        return use({});
      },
    } as unknown as Token;
    const ledger = new Ledger({
      journal: daemon.journal,
      // what the entries say is tried apart; here they say nothing against it
      followed: {
        facts: {
          ...{ policy: undefined, request: none, grant: none, deposit: none, asOf: nothingAgainst },
          ...{
            lastUsedMs: none,
            drill: none,
            heldBy: () => ({ keys: 0, due: 0 }),
            depositGroups: () => [],
            depositsBeingMade: () => [],
          },
          ...{ openAttempt: attempted, creation: none, secondary: () => undefined },
          ...{ keptRelease: none, due: new LogState().due },
          ...{ openRequestIds: nobody },
          ...{ grantsNamed: nobody, runningGrantIds: nobody, openAttempts: nobody },
          ...{ importPair: () => undefined, importPairIds: nobody },
        },
        through: () => Promise.resolve(),
        caughtUp: () => Promise.resolve(),
      },
      token,
      clock,
      random: freshBytes,
      memory: { anchored: () => Promise.resolve(), requireOwnToken: () => Promise.resolve() },
      notice: () => undefined,
      policy: () => Promise.reject(new Error('nobody asks which policy is in force')),
      contentionTimeoutMs: 0,
    });
    const performed = ledger.perform({
      act: 'grant.sign',
      actor: { id: 'app', request: undefined },
      decide: () =>
        Promise.resolve({
          detail: {},
          claims: [],
          plan: undefined,
          ...(logged === undefined ? {} : { logged }),
        }),
      run: () => Promise.resolve({ detail: {}, digest: 'ab'.repeat(32), changes: [], answer: undefined }),
    });
    const code = await performed.then(
      () => 'answered',
      (error: unknown) => (error instanceof EscrowError ? error.code : error),
    );
    return { uses, code };
  }

  it('does not come about where it waits for the proof', async () => {
    expect(await usedFor('proven')).toEqual({ uses: 0, code: 'log-unavailable' });
  });

  it('comes about once where it does not, and is not answered', async () => {
    expect(await usedFor(undefined)).toEqual({ uses: 1, code: 'interrupted' });
  });
});

describe('of two daemons', () => {
  it('the one that was lied to stops when the other one’s checkpoint lacks its entry', async () => {
    const other = await opened({ checkpointIntervalMs: 600_000 });
    const lied = await composed('nothing');
    const blind = await composed('its own leaves');
    for (const daemon of [lied, other, blind]) await append(daemon, 1);
    for (const { integrator } of [lied, blind]) await integrator.proven(3, 2000);
    // the next index is told, and nothing is recorded
    await replaceAppendPlain((source) =>
      source.replace(
        /begin\n/i,
        `begin if by_instance like 'composed%' then select size into base from log_head where id = 1; return base; end if;\n`,
      ),
    );
    expect([await append(lied, 1), await append(blind, 1), await append(other, 1)]).toEqual([[3], [3], [3]]);
    expect((await other.log.inclusion(3)).size).toBe(4);
    await expect(lied.integrator.proven(4, 500)).rejects.toMatchObject(stopped);
    expect((await lied.damage.failed).message).toBe('the tree of 4 entries is not the one that was signed');
    await expect(append(lied, 1)).rejects.toMatchObject(stopped);
    // the control: a daemon that does not know its own leaves believes that its entry is there
    await blind.integrator.proven(4, 500);
    // and the other one goes on
    await append(other, 1);
    expect((await other.log.inclusion(4)).size).toBe(5);
  });

  it('the one that was lied to does not prove that the other one’s entry is in the log in place of its own', async () => {
    const other = await opened({ checkpointIntervalMs: 600_000 });
    const lied = await composed('nothing');
    const blind = await composed('its own leaves');
    await replaceAppendPlain((source) =>
      source.replace(
        /begin\n/i,
        `begin if by_instance like 'composed%' then select size into base from log_head where id = 1; return base; end if;\n`,
      ),
    );
    expect([await append(lied, 1), await append(blind, 1), await append(other, 1)]).toEqual([[0], [0], [0]]);
    expect((await other.log.inclusion(0)).size).toBe(1);
    await expect(lied.log.inclusion(0)).rejects.toMatchObject(stopped);
    // the control: a daemon that does not know its own leaves proves it
    expect((await blind.log.inclusion(0)).size).toBe(1);
    expect((await lied.damage.failed).message).toBe('the tree of 1 entries is not the one that was signed');
    await expect(lied.log.inclusions([0], 1)).rejects.toMatchObject(stopped);
    expect((await blind.log.inclusions([0], 1)).proofs).toHaveLength(1);
  });

  it('each finds what is inserted behind the entries of the other', async () => {
    const both = [await opened({ checkpointIntervalMs: 20 }), await opened({ checkpointIntervalMs: 20 })];
    for (const database of both) await append(database, 2);
    for (const database of both) await database.log.inclusion(3);
    await insertVeto();
    for (const database of both) await append(database, 1).catch(() => undefined);
    for (const database of both) {
      expect((await database.failed).message).toBe('the entry 4 was not written by a daemon');
    }
    const [newest = 0] = [...(await checkpoints())].reverse();
    expect(newest).toBe(4);
  });

  it('what either writes is in the tree of both', async () => {
    const both = [await opened({ checkpointIntervalMs: 5 }), await opened({ checkpointIntervalMs: 5 })];
    await Promise.all(both.map((database) => append(database, 40)));
    for (const database of both) {
      const { checkpoint } = await database.log.inclusion(79);
      expect(openCheckpoint(checkpoint, signer.vkey, signer.origin).size).toBe(80);
    }
  });
});

describe('a proof', () => {
  it.each<[string, string, (database: Database) => Promise<unknown>]>([
    [
      'of one entry',
      'update log_tile set hash = sha256(hash) where level = 1',
      (it) => it.log.inclusion(265),
    ],
    [
      'of several',
      'update log_tile set hash = sha256(hash) where level = 1',
      (it) => it.log.inclusions([3, 265], undefined),
    ],
    [
      'in an older tree',
      `update log_entry set entry = entry || 'x' where seq = 4`,
      (it) => it.log.inclusions([3], 260),
    ],
  ])(
    '%s that does not lead to the root is not answered, and stops the daemon',
    async (_what, change, asked) => {
      const database = await opened();
      await Promise.all(Array.from({ length: 260 }, () => append(database, 1)));
      expect((await database.log.inclusion(259)).size).toBe(260);
      await append(database, 10);
      await database.log.inclusion(269);
      await asked(database);
      for (const table of ['log_tile', 'log_entry']) {
        await query(server.owner, `alter table ${table} disable trigger all`);
      }
      await query(server.owner, change);
      await expect(asked(database)).rejects.toMatchObject(stopped);
      expect((await database.failed).message).toBe(
        'the hashes in the database do not lead to the root that was signed',
      );
    },
  );
});

describe('where the entries without a writer end, moved by the schema’s owner', () => {
  const moved = async (to: number): Promise<void> => {
    await query(server.owner, 'alter table log_unsigned disable trigger all');
    await query(server.owner, 'update log_unsigned set size = $1', [to]);
  };

  it('is found by the certificate of the newest writer', async () => {
    const database = await openOn(server, signer);
    await append(database, 1);
    await database.close();
    await insertVeto();
    await moved(1000);
    await expect(openOn(server, signer)).rejects.toThrow(
      /end at 1000, as the database says now, and ended at 0/,
    );
  });

  it('is found by the token’s anchor when the writers are gone as well', async () => {
    const kept = anchorage();
    const database = await openOn(server, signer, { anchorage: kept });
    await append(database, 1);
    await database.close();
    for (const table of ['log_batch', 'log_writer']) {
      await query(server.owner, `alter table ${table} disable trigger all`);
      await query(server.owner, `delete from ${table}`);
    }
    await insertVeto();
    await moved(1000);
    await expect(openOn(server, signer, { anchorage: kept })).rejects.toThrow(
      /1000 entries need no writer, and the token remembers 0/,
    );
    // the control: a token that remembers nothing
    const taken = await openOn(server, signer, { anchorage: anchorage() });
    expect(await taken.log.inclusion(1)).toMatchObject({ size: 2 });
    await taken.close();
  });
});
