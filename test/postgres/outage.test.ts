import { Client } from 'pg';
import { EscrowError } from '../../src/escrow/records/errors.js';
import { NotHeld, type Claim, type JournalWrite } from '../../src/escrow/ports/journal.js';
import { connectAppender } from '../../src/postgres/journal/appender.js';
import { beginBatch, writeBatch } from '../../src/postgres/journal/judgedBatch.js';
import type { Database } from '../../src/postgres/database.js';
import type { Send } from '../../src/postgres/journal/lockedRows.js';
import { chance } from '../support/chance.js';
import { query, startTestServer, type TestServer } from '../support/postgres.js';
import { softwareSigner } from '../support/signer.js';
import { startCuttingProxy, type CuttingProxy } from './cuttingProxy.js';
import { openOn, writerOn } from './fixtures.js';
import { aGrant, writeOf } from './records.js';
import { letPass, until } from '../support/waiting.js';
import { LIMITS_MS } from '../support/limits.js';

jest.setTimeout(LIMITS_MS.database);

const signer = softwareSigner();
/** Of what is to fail in time; what is to succeed in it takes milliseconds on an idle machine. */
const SHORT = { appendMs: 2_000, connectMs: 1_500, queryMs: 1_500 };
const later = new Date('2100-01-01T00:00:00.000Z');
let server: TestServer;
let open: Database[];
let proxy: CuttingProxy | undefined;

beforeAll(async () => {
  server = await startTestServer();
});
beforeEach(async () => {
  open = [];
  await server.reset();
});
afterEach(async () => {
  await Promise.all(open.map((database) => database.close()));
  proxy?.close();
  proxy = undefined;
});
afterAll(() => server.stop());

async function opened(options: Parameters<typeof openOn>[2] = {}): Promise<Database> {
  const database = await openOn(server, signer, options);
  open.push(database);
  return database;
}

async function throughProxy(): Promise<{ readonly database: Database; readonly proxy: CuttingProxy }> {
  proxy = await startCuttingProxy(server.daemon);
  const database = await opened({ daemon: proxy.settings });
  // So that all statements are known to the server and the next commit is the one that is cut.
  await database.journal.append(writeOf('alone'));
  return { database, proxy };
}

/** Indexes by act, of all that stand in the log; fails when one stands there twice. */
async function standing(): Promise<ReadonlyMap<string, number>> {
  const rows = await query<{ seq: string; id: string }>(
    server.owner,
    'select seq, id from log_entry order by seq',
  );
  expect(rows.map(({ seq }) => Number(seq))).toEqual(rows.map((_, at) => at));
  const byId = new Map(rows.map(({ id, seq }) => [id, Number(seq)]));
  expect(byId.size).toBe(rows.length);
  return byId;
}

/** Locks the head of the log in a transaction of somebody else, until told to let go. */
async function holdHead(): Promise<() => Promise<void>> {
  const other = new Client({ ...server.owner, ssl: false });
  await other.connect();
  await other.query('begin');
  await other.query('select from log_head for update');
  return async () => {
    await other.query('commit');
    await other.end();
  };
}

/** Ends the connections that append; the daemon's role may end its own. */
function killAppenders(): Promise<unknown> {
  return query(
    server.daemon,
    `select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'escrowd journal'`,
  );
}

it('what is answered is true, however often the connections are killed in a storm of appends', async () => {
  const [one, two] = [await opened(), await opened()];
  const grant = aGrant({ scope: { ...aGrant().scope, maxUses: 300 } });
  await one.journal.append(writeOf('alone', { changes: [{ change: 'grant-created', grant }] }));

  const recorded = new Map<string, number>();
  const notHeld: string[] = [];
  const unknown: string[] = [];
  const claim: Claim = { claim: 'uses-counted', grant: grant.id, uses: 1, at: grant.startsAt };
  let over = false;
  const kills = chance('kills of connections');
  const caller = async (database: Database, at: number): Promise<void> => {
    const { below } = chance(`caller ${at}`);
    while (!over) {
      const write = writeOf('alone', { claims: [claim] });
      try {
        recorded.set(write.id, (await database.journal.append(write)).index);
      } catch (error) {
        if (error instanceof NotHeld) notHeld.push(write.id);
        else if (error instanceof EscrowError && error.code === 'log-unavailable') unknown.push(write.id);
        else throw error;
      }
      await letPass(below(20));
    }
  };
  const callers = Array.from({ length: 32 }, (_, at) => caller(at % 2 === 0 ? one : two, at));
  for (let kill = 0; kill < 60; kill += 1) {
    await letPass(kills.below(40));
    await killAppenders();
  }
  await until(() => notHeld.length > 0);
  over = true;
  await Promise.all(callers);

  const log = await standing();
  for (const [id, index] of recorded) expect(log.get(id)).toBe(index);
  for (const id of notHeld) expect(log.has(id)).toBe(false);
  expect(unknown).toEqual([]);
  expect(recorded.size).toBe(300);
  expect(notHeld.length).toBeGreaterThan(0);
  expect(log.size).toBe(301);
  const [row] = await query(server.owner, 'select used from grant_');
  expect(row).toEqual({ used: 300 });
});

describe('when the line is cut at the commit', () => {
  // Two present one request, so that they are judged.
  const writes = (): readonly JournalWrite[] => {
    const request: Claim = { claim: 'request-unused', kid: 'kid', jti: 'jti', expiresAt: later };
    return [
      writeOf('opens', { claims: [request] }),
      writeOf('opens', { claims: [request] }),
      writeOf('alone'),
    ];
  };
  const statuses = ['fulfilled', 'rejected', 'fulfilled'];

  it('what was committed is found and answered with its index', async () => {
    const { database, proxy: line } = await throughProxy();
    line.cutAt('answer', 'commit');
    const batch = writes();
    const settled = await Promise.allSettled(batch.map((write) => database.journal.append(write)));
    expect(line.cuts).toBe(1);
    expect(settled.map(({ status }) => status)).toEqual(statuses);
    expect(settled[1]).toMatchObject({ reason: { what: 'request-unused' } });
    const log = await standing();
    expect(log.size).toBe(3);
    expect(settled[0]).toMatchObject({ value: { index: log.get(batch[0]?.id ?? '') } });
    expect(settled[2]).toMatchObject({ value: { index: log.get(batch[2]?.id ?? '') } });
  });

  it('what never arrived is recorded on the next connection', async () => {
    const { database, proxy: line } = await throughProxy();
    line.cutAt('statement', 'commit');
    const settled = await Promise.allSettled(writes().map((write) => database.journal.append(write)));
    expect(line.cuts).toBe(1);
    expect(settled.map(({ status }) => status)).toEqual(statuses);
    expect((await standing()).size).toBe(3);
    expect(await database.journal.openActs()).toHaveLength(1);
  });

  it.each(['answer', 'statement'] as const)(
    'of a plain batch with another behind it (the %s is lost), all are recorded once',
    async (lost) => {
      const { database, proxy: line } = await throughProxy();
      line.cutAt(lost, 'append-plain');
      const batch = Array.from({ length: 60 }, () => writeOf('opens'));
      const answers = await Promise.all(batch.map((write) => database.journal.append(write)));
      expect(line.cuts).toBe(1);
      const log = await standing();
      expect(log.size).toBe(1 + batch.length);
      expect(answers.map(({ index }) => index)).toEqual(batch.map(({ id }) => log.get(id)));
      expect(await database.journal.openActs()).toHaveLength(batch.length);
    },
  );

  it('a backend that does not see it is stopped before anything is said to be lost', async () => {
    const { database, proxy: line } = await throughProxy();
    const letGo = await holdHead();
    line.cutAt('answer', 'append-plain');
    // It has arrived and waits for the head, and would still be recorded when that is free.
    const write = writeOf('opens');
    const appending = database.journal.append(write);
    await letPass(500); // for longer than nothing: what is cut off meanwhile is looked for behind it
    await letGo();
    const { index } = await appending;
    const log = await standing();
    expect([log.size, log.get(write.id)]).toEqual([2, index]);
  });
});

it('an append fails in time while the database is away, and works again when it is back', async () => {
  const database = await opened({ timeouts: SHORT });
  await database.journal.append(writeOf('alone'));
  await server.halt();
  const lost = writeOf('alone');
  // nobody brings the server back before this has failed
  await expect(database.journal.append(lost)).rejects.toMatchObject({ code: 'log-unavailable' });
  await expect(database.store.policyVersion()).rejects.toMatchObject({ code: 'store-unavailable' });
  await expect(database.log.checkpoint()).rejects.toMatchObject({ code: 'store-unavailable' });
  expect(await database.health()).toEqual({ answers: false });

  await server.resume();
  const write = writeOf('alone');
  const { index } = await database.journal.append(write);
  expect(await database.store.policyVersion()).toBe(0);
  const log = await standing();
  expect(log.get(write.id)).toBe(index);
  expect(log.has(lost.id)).toBe(false);
  expect((await database.log.inclusion(index)).size).toBe(2);
});

it('an append fails in time while the server hangs, and works again afterwards', async () => {
  const database = await opened({ timeouts: SHORT });
  await database.journal.append(writeOf('alone'));
  const [backend] = await query<{ pid: number }>(
    server.daemon,
    `select pid from pg_stat_activity where application_name = 'escrowd journal'`,
  );
  // 0 would be everybody here
  if (backend === undefined) throw new Error('the appender has no backend');
  const { pid } = backend;
  process.kill(pid, 'SIGSTOP');
  const lost = writeOf('alone');
  try {
    // nobody lets the server go on before this has failed
    await expect(database.journal.append(lost)).rejects.toMatchObject({ code: 'log-unavailable' });
  } finally {
    process.kill(pid, 'SIGCONT');
  }
  const write = writeOf('alone');
  const { index } = await database.journal.append(write);
  expect((await standing()).get(write.id)).toBe(index);
});

it('an append fails in time while another transaction holds the head of the log', async () => {
  const database = await opened({ timeouts: { appendMs: SHORT.appendMs } });
  await database.journal.append(writeOf('alone'));
  const letGo = await holdHead();
  const lost = writeOf('alone');
  await expect(database.journal.append(lost)).rejects.toMatchObject({ code: 'log-unavailable' });
  await letGo();
  const write = writeOf('alone');
  const { index } = await database.journal.append(write);
  expect((await standing()).get(write.id)).toBe(index);
});

it('a daemon that stands still with the head of the log in its hands is not waited for', async () => {
  const other = await opened();
  const still = await connectAppender(server.daemon, { connectMs: 5000, appendMs: SHORT.appendMs }, 0);
  const send: Send = (statement) =>
    statement.name === 'commit' ? new Promise(() => undefined) : still.send(statement);
  const held = writeOf('alone');
  const writer = await writerOn(server.daemon, signer, 'still');
  await writeBatch(send, writer, beginBatch(send, [held]), [held]);
  // answered behind the append: the head is held
  await still.send({ name: 'behind', text: 'select 1', values: [] });
  const write = writeOf('alone');
  expect(await other.journal.append(write)).toEqual({ index: 0 });
  expect([...(await standing()).keys()]).toEqual([write.id]);
  still.cut();
});

it('a daemon that stands still with the tree in its hands is not waited for', async () => {
  let goOn: () => void = () => undefined;
  const stands = new Promise<void>((resolve) => (goOn = resolve));
  let asked: () => void = () => undefined;
  const isAsked = new Promise<void>((resolve) => (asked = resolve));
  const stuck = {
    ...signer,
    sign: async (text: Uint8Array) => {
      asked();
      await stands;
      return signer.sign(text);
    },
  };
  const still = await openOn(server, stuck, {
    checkpointIntervalMs: 1,
    timeouts: { queryMs: SHORT.queryMs },
  });
  const other = await opened();
  const { index } = await still.journal.append(writeOf('alone'));
  await isAsked;
  expect(await other.log.inclusion(index)).toMatchObject({ size: 1 });
  goOn();
  await still.close();
  const stored = await query(server.owner, 'select size::int from log_checkpoint');
  expect(stored).toEqual([{ size: 1 }]);
});

it('a daemon that is slow to sign does not put the tree back to where it began', async () => {
  let goOn: () => void = () => undefined;
  const stands = new Promise<void>((resolve) => (goOn = resolve));
  let asked: () => void = () => undefined;
  const isAsked = new Promise<void>((resolve) => (asked = resolve));
  const slow = {
    ...signer,
    sign: async (text: Uint8Array) => {
      asked();
      await stands;
      return signer.sign(text);
    },
  };
  const first = await opened({ signer: slow, checkpointIntervalMs: 1 });
  const second = await opened();
  await first.journal.append(writeOf('alone'));
  await isAsked;
  // While the first one signs the tree of one entry, the second is asked for that of two.
  const { index } = await second.journal.append(writeOf('alone'));
  const proof = second.log.inclusion(index);
  await letPass(300);
  goOn();
  expect(await proof).toMatchObject({ size: 2 });
  await first.close();
  const stored = await query(server.owner, 'select size::int from log_frontier');
  expect(stored).toEqual([{ size: 2 }]);
  const last = await second.journal.append(writeOf('alone'));
  expect(await second.log.inclusion(last.index)).toMatchObject({ size: 3 });
});

it('a daemon whose log has become shorter appends nothing more', async () => {
  const database = await opened({ timeouts: { appendMs: 500 }, checkpointIntervalMs: 60_000 });
  for (let at = 0; at < 3; at += 1) await database.journal.append(writeOf('alone'));
  await query(server.owner, 'alter table log_entry disable trigger all');
  await query(server.owner, 'delete from log_entry where seq = 2');
  await query(server.owner, 'update log_head set size = 2');
  await killAppenders();
  await expect(database.journal.append(writeOf('alone'))).rejects.toMatchObject({
    code: 'log-unavailable',
    cause: { name: 'LogDamaged' },
  });
  expect(await database.health()).toMatchObject({
    journalFault: expect.stringMatching(/shorter than the 3 entries/) as string,
  });
  expect((await standing()).size).toBe(2);
});

it('close answers what waits, and nothing is taken after it', async () => {
  const database = await openOn(server, signer);
  const appended = Array.from({ length: 50 }, () => database.journal.append(writeOf('alone')));
  await database.close();
  expect((await Promise.all(appended)).map(({ index }) => index)).toEqual(appended.map((_, at) => at));
  await expect(database.journal.append(writeOf('alone'))).rejects.toMatchObject({ code: 'shutting-down' });
  const [row] = await query(server.owner, 'select max(size)::int as size from log_checkpoint');
  expect(row).toEqual({ size: 50 });
});

it('a server that came back and may lose what it acknowledges is told of, once, and so is its end; nothing is recorded on it', async () => {
  const told: (string | undefined)[] = [];
  const database = await opened({ onUnsafe: (reason) => told.push(reason), timeouts: SHORT });
  await database.journal.append(writeOf('alone'));
  const role = server.daemon.user;
  const before = await standing();
  await query(server.daemon, `alter role ${role} set synchronous_commit = off`);
  try {
    await killAppenders();
    await expect(database.journal.append(writeOf('alone'))).rejects.toMatchObject({
      code: 'log-unavailable',
    });
    await until(() => told.length > 0);
    expect(told).toEqual([expect.stringContaining('synchronous_commit must be on')]);
    expect(await standing()).toEqual(before);
  } finally {
    await query(server.daemon, `alter role ${role} reset synchronous_commit`);
  }
  await until(() =>
    database.journal.append(writeOf('alone')).then(
      () => true,
      () => false,
    ),
  );
  expect(told).toHaveLength(2);
  expect(told.at(-1)).toBeUndefined();
});

it('a server that became read-only is left, and said to be; when it can be written to again it goes on', async () => {
  const warned: string[] = [];
  const log = { info: () => undefined, warn: (line: string) => warned.push(line) };
  const database = await opened({ log, timeouts: SHORT });
  await database.journal.append(writeOf('alone'));
  const before = await standing();
  const role = server.daemon.user;
  await query(server.daemon, `alter role ${role} set default_transaction_read_only = on`);
  try {
    await killAppenders();
    await expect(database.journal.append(writeOf('alone'))).rejects.toMatchObject({
      code: 'log-unavailable',
    });
    expect(warned).toContain('the log cannot be written: the server cannot be written to now');
    expect(await database.health()).toMatchObject({
      journalFault: 'the server cannot be written to now',
    });
    expect(await standing()).toEqual(before);
  } finally {
    await query(
      server.daemon,
      `begin read write; alter role ${role} reset default_transaction_read_only; commit`,
    );
  }
  await until(() =>
    database.journal.append(writeOf('alone')).then(
      () => true,
      () => false,
    ),
  );
});

it('a server that answers and has no room is a fault of the log, until something is recorded again', async () => {
  const told: string[] = [];
  const log = { info: (line: string) => told.push(line), warn: (line: string) => told.push(line) };
  const database = await opened({ log, timeouts: SHORT });
  const { index } = await database.journal.append(writeOf('alone'));
  const full = `
    create function no_room() returns trigger language plpgsql as
      $$ begin raise exception 'could not extend file: No space left on device' using errcode = '53100'; end $$;
    create trigger no_room before insert on log_entry for each statement execute function no_room()`;
  await query(server.owner, full);
  try {
    await expect(database.journal.append(writeOf('alone'))).rejects.toMatchObject({
      code: 'log-unavailable',
    });
    expect(await database.health()).toMatchObject({
      journalFault: expect.stringContaining('No space left') as string,
    });
  } finally {
    await query(server.owner, 'drop trigger no_room on log_entry; drop function no_room()');
  }
  expect(await database.journal.append(writeOf('alone'))).toEqual({ index: index + 1 });
  expect(await database.health()).toMatchObject({ journalFault: undefined });
  expect(told.filter((line) => line.startsWith('the log can'))).toEqual([
    expect.stringMatching(/^the log cannot be written: .*No space left/),
    'the log can be written again',
  ]);
});
