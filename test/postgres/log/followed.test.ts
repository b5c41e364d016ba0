import type { Database } from '../../../src/postgres/database.js';
import { leafHash } from '../../../src/log/tree/merkle.js';
import { Damage } from '../../../src/postgres/damage.js';
import { FollowedLog } from '../../../src/postgres/log/followed.js';
import { type Follow } from '../../../src/postgres/log/followedState.ts';
import type { Pool } from '../../../src/postgres/pool.js';
import { recordPlain } from '../../../src/postgres/journal/plainBatch.js';
import { connectAppender } from '../../../src/postgres/journal/appender.js';
import { query, startTestServer, type TestServer } from '../../support/postgres.js';
import { softwareSigner } from '../../support/signer.js';
import { openOn, writerOn } from '../fixtures.js';
import { writeOf } from '../records.js';
import { LIMITS_MS } from '../../support/limits.js';

jest.setTimeout(LIMITS_MS.database);

const signer = softwareSigner();
const rarely = { checkpointIntervalMs: 60_000 };
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

async function opened(options: Parameters<typeof openOn>[2] = {}): Promise<Database> {
  const database = await openOn(server, signer, options);
  open.push(database);
  return database;
}

/** Takes entries, and fails at once when one is not the next. */
function taker(from = 0): Follow & { readonly taken: Uint8Array[] } {
  const taken: Uint8Array[] = [];
  return {
    from,
    taken,
    take: (index, entry) => {
      expect(index).toBe(from + taken.length);
      taken.push(entry);
    },
  };
}

async function append(database: Database, count: number): Promise<void> {
  await Promise.all(Array.from({ length: count }, () => database.journal.append(writeOf('alone'))));
}

async function logged(database: Database, from = 0): Promise<readonly Buffer[]> {
  return (await database.log.entries(from, 100_000)).map(({ entry }) => Buffer.from(entry));
}

const bytes = (taken: readonly Uint8Array[]): readonly Buffer[] => taken.map((entry) => Buffer.from(entry));

it('every entry is taken once and in order by each of two daemons that append at the same time', async () => {
  const takers = [taker(), taker()];
  const both = await Promise.all(takers.map((follow) => opened({ follow })));
  await Promise.all(both.map((database) => append(database, 300)));
  await Promise.all(both.map((database) => database.followed.caughtUp()));
  const [one] = both;
  const log = one === undefined ? [] : await logged(one);
  expect(log).toHaveLength(600);
  for (const { taken } of takers) expect(bytes(taken)).toEqual(log);
});

it('what a daemon appended itself is taken before whoever appended it is answered', async () => {
  const follow = taker();
  const database = await opened({ follow, ...rarely });
  for (let at = 0; at < 5; at += 1) {
    const write = writeOf('alone');
    const { index } = await database.journal.append(write);
    expect(follow.taken[index]).toBe(write.entry);
  }
});

it('what stands in the log is taken before the database is open, from where it is asked for', async () => {
  const first = await opened(rarely);
  await append(first, 700);
  await first.log.inclusion(299);
  await append(first, 20); // in no tree yet
  const log = await logged(first);
  for (const from of [0, 1, 255, 256, 300, 699]) {
    const follow = taker(from);
    await opened({ follow, ...rarely });
    expect(bytes(follow.taken)).toEqual(log.slice(from));
  }
});

it('a daemon that is gone has left entries that are in no tree: they are taken and signed', async () => {
  const writer = await (async () => {
    await (await openOn(server, signer)).close();
    return writerOn(server.daemon, signer, 'gone');
  })();
  const appender = await connectAppender(server.daemon, { connectMs: 5000, appendMs: 5000 }, 0);
  await recordPlain(appender.send, writer, [writeOf('alone'), writeOf('alone')]);
  await recordPlain(appender.send, writer, [writeOf('alone')]);
  await appender.close();
  const follow = taker();
  const database = await opened({ follow });
  expect(bytes(follow.taken)).toEqual(await logged(database));
  expect(await database.log.inclusion(2)).toMatchObject({ size: 3 });
});

it('an entry of another daemon is waited for, until a deadline', async () => {
  const [follow, other] = [taker(), await opened(rarely)];
  const impatient = await opened({ ...rarely, timeouts: { appendMs: 300 } });
  await expect(impatient.followed.through(0)).rejects.toMatchObject({ code: 'log-unavailable' });
  const database = await opened({ follow, ...rarely });
  const through = database.followed.through(1);
  await append(other, 2);
  await through;
  expect(follow.taken).toHaveLength(2);
  await append(other, 2);
  await database.followed.caughtUp();
  expect(follow.taken).toHaveLength(4);
});

/** As many steps of the queue of microtasks. */
async function steps(count: number): Promise<void> {
  for (let step = 0; step < count; step += 1) await Promise.resolve();
}

it.each([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10])(
  'an own batch that is answered %i steps after what stands before it was asked for is taken where it stands',
  async (late) => {
    const entries = [0, 1, 2, 3].map((at) => Buffer.from(`entry ${at}`));
    const page = entries.slice(0, 2).map((entry) => ({ entry, leaf: leafHash(entry) }));
    const asked: { readonly from: number; readonly below: number | undefined }[] = [];
    const damage = new Damage();
    const followed = await FollowedLog.start({
      pool: { ask: () => Promise.resolve([]) } as unknown as Pool,
      damage,
      follow: undefined,
      self: 'self',
      timeoutMs: 5000,
      trusted: { origin: 'log', size: 0, root: new Uint8Array(32), note: undefined },
      written: {
        note: () => undefined,
        read: async (_ask, from, below) => {
          asked.push({ from, below });
          // the start finds nothing; then others have appended
          await steps(1);
          return { entries: asked.length === 2 ? page : [], batches: [] };
        },
      },
    });
    const through = followed.through(3);
    await steps(late);
    const own = entries.slice(2);
    followed.own(
      {
        log: 'log',
        writer: 'self',
        counter: 1,
        follows: 0,
        since: 1,
        leaves: own.map(leafHash),
        entries: own,
        signature: new Uint8Array(64),
      },
      2,
    );
    await through;
    expect(damage.error).toBeUndefined();
    expect(followed.leaves(0, 4)).toEqual(entries.map(leafHash));
    await followed.close();
  },
);

it('who waits when the database is closed is told so', async () => {
  const database = await openOn(server, signer);
  const through = expect(database.followed.through(7)).rejects.toMatchObject({ code: 'shutting-down' });
  await database.close();
  await through;
});

it('an entry that cannot be where it is stops the daemon', async () => {
  const other = await opened();
  const database = await opened({
    follow: {
      take: (index) => {
        if (index === 1) throw new Error('there is no attempt of it');
      },
    },
  });
  await append(other, 1);
  await database.followed.caughtUp();
  await append(other, 1);
  await expect(database.followed.caughtUp()).rejects.toMatchObject({ code: 'log-unavailable' });
  expect((await database.failed).message).toBe(
    'the entry 1 cannot stand where it does: there is no attempt of it',
  );
  await expect(append(database, 1)).rejects.toMatchObject({ code: 'log-unavailable' });
  expect(await query(server.owner, 'select from log_entry')).toHaveLength(2);
});

it('a start is refused when an entry that a checkpoint covers is another one than was signed', async () => {
  const first = await openOn(server, signer);
  await append(first, 600);
  await first.close();
  await query(server.owner, 'alter table log_entry disable trigger all');
  await query(server.owner, `update log_entry set entry = entry || 'x' where seq = 3`);
  // the few that are hashed at start do not have it
  const rehashedAtStart = 1;
  await (await openOn(server, signer, { rehashedAtStart })).close();
  await expect(openOn(server, signer, { rehashedAtStart, follow: taker() })).rejects.toThrow(
    /the entries 0 to 599 are not those that were signed/,
  );
});
