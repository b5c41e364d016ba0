import { UnsafeDatabase } from '../../src/postgres/faults.js';
import { SchemaMissing } from '../../src/postgres/schema/migrate.js';
import { requireDurable } from '../../src/postgres/schema/durability.js';
import { query, startTestServer, type TestServer } from '../support/postgres.js';
import { softwareSigner } from '../support/signer.js';
import { openOn } from './fixtures.js';
import { writeOf } from './records.js';
import { LIMITS_MS } from '../support/limits.js';

jest.setTimeout(LIMITS_MS.database);

const signer = softwareSigner();
let server: TestServer;

beforeAll(async () => {
  server = await startTestServer();
  const database = await openOn(server, signer);
  await database.journal.append(
    writeOf('alone', {
      changes: [
        { change: 'policy-applied', version: 1, hash: 'h', document: '{}', signatures: [], at: new Date(0) },
      ],
    }),
  );
  await database.log.inclusion(0);
  await database.witnessed.keep({ size: 1, name: 'w.example', keyId: '01234567', line: 'line\n', at: 1 });
  await database.close();
});
afterAll(() => server.stop());

describe.each(['log_entry', 'log_subject', 'log_tile', 'log_checkpoint', 'log_cosignature', 'policy'])(
  '%s is append-only',
  (table) => {
    const columns = {
      log_entry: 'id',
      log_subject: 'seqs',
      log_tile: 'index',
      log_checkpoint: 'note',
      policy: 'hash',
    };
    const column = { ...columns, log_cosignature: 'line' }[table] ?? '';
    const attempts = [
      `update ${table} set ${column} = ${column}`,
      `update ${table} set ${column} = ${column} where false`,
      `delete from ${table}`,
      `truncate ${table}`,
    ];

    it.each(attempts)('for its owner: %s', async (sql) => {
      await expect(query(server.owner, sql)).rejects.toMatchObject({
        code: '42501',
        message: expect.stringContaining('append-only') as string,
      });
    });

    it.each(attempts)("for the daemon's role, which has no such right: %s", async (sql) => {
      await expect(query(server.daemon, sql)).rejects.toMatchObject({
        code: '42501',
        message: `permission denied for table ${table}`,
      });
    });

    it("for the daemon's role, which can neither drop it nor switch the guard off", async () => {
      const attacks = [
        `drop table ${table}`,
        `alter table ${table} disable trigger append_only`,
        `drop trigger append_only on ${table}`,
        `create or replace function refuse_change() returns trigger language plpgsql as 'begin return new; end'`,
      ];
      for (const sql of attacks)
        await expect(query(server.daemon, sql)).rejects.toMatchObject({ code: '42501' });
      await expect(query(server.daemon, `set session_replication_role = replica`)).rejects.toMatchObject({
        code: '42501',
      });
    });
  },
);

it('a checkpoint is found by how many witnesses have cosigned it, and carries their lines', async () => {
  const database = await openOn(server, signer);
  const { witnessed, log } = database;
  const keep = (
    size: number,
    name: string,
    keyId: string,
    at = size,
    line = `\u2014 ${name} ${size}\n`,
  ): Promise<void> => witnessed.keep({ size, name, keyId, line, at });
  const [one, two] = ['0000000a', '0000000b'];
  for (let size = 2; size <= 4; size += 1) {
    const { index } = await database.journal.append(writeOf('alone'));
    await log.inclusion(index);
  }
  await keep(2, 'one.example', one);
  await keep(2, 'two.example', two);
  await keep(3, 'one.example', one);
  await keep(3, 'one.example', one);
  const found = async (count: number, by?: readonly string[]): Promise<number | undefined> =>
    (await log.witnessed({ count, by }))?.size;
  expect([await found(1), await found(2), await found(3)]).toEqual([3, 2, undefined]);
  expect([await found(1, [two]), await found(2, [one, two]), await found(2, [one])]).toEqual([
    2,
    2,
    undefined,
  ]);
  const { note = '' } = (await log.witnessed({ count: 2, by: undefined })) ?? {};
  expect(note.endsWith('\u2014 one.example 2\n\u2014 two.example 2\n')).toBe(true);
  expect([await witnessed.cosignedBy('one.example', one), await witnessed.cosignedBy('x', one)]).toEqual([
    { size: 3, at: 3 },
    { size: 0, at: 0 },
  ]);
  // one that has cosigned again counts once, by what it said last
  await keep(2, 'one.example', one, 90, 'later');
  expect([await found(2), await found(3)]).toEqual([2, undefined]);
  const { note: again = '' } = (await log.witnessed({ count: 2, by: undefined })) ?? {};
  expect(again.endsWith('later\u2014 two.example 2\n')).toBe(true);
  const newest = await log.checkpoint();
  expect([newest?.size, newest?.note]).toEqual([4, (await witnessed.newest())?.note]);
  await database.close();
});

/**
 * Tables of the log and of policies that hold state, and no evidence: each is made anew of what is append-only, or says
 * only which row of it is the newest. Every other one must be append-only.
 */
const state = ['log_frontier', 'log_head', 'log_state', 'log_subject_head', 'policy_head'];

it('every table of the log and of policies is append-only, but those that are known to hold state', async () => {
  const tables = await query<{ name: string; mayChange: boolean; guarded: boolean }>(
    server.owner,
    `select t.relname as name,
        has_any_column_privilege($1, t.oid, 'UPDATE') or has_table_privilege($1, t.oid, 'DELETE')
          or has_table_privilege($1, t.oid, 'TRUNCATE') as "mayChange",
        -- before DELETE, UPDATE and TRUNCATE (8, 16 and 32 of tgtype), whatever session_replication_role says
        exists (select from pg_trigger g join pg_proc p on p.oid = g.tgfoid
          where g.tgrelid = t.oid and p.proname = 'refuse_change' and g.tgenabled = 'A'
            and g.tgtype & 58 = 58) as guarded
      from pg_class t join pg_namespace n on n.oid = t.relnamespace
      where n.nspname = 'public' and t.relkind in ('r', 'p')
        and t.relname ~ '^(log|policy)(_|$)|cosignature|checkpoint'
      order by name`,
    [server.daemon.user],
  );
  const named = (list: typeof tables): readonly string[] => list.map(({ name }) => name);
  expect(named(tables)).toEqual(expect.arrayContaining([...state, 'log_entry', 'log_cosignature', 'policy']));
  expect(named(tables.filter(({ guarded }) => !guarded))).toEqual(state);
  expect(named(tables.filter(({ mayChange }) => mayChange))).toEqual(state);
});

it('the entries can be read in psql', async () => {
  expect(await query(server.daemon, 'select seq, act, phase, actor from log_reading where seq = 0')).toEqual([
    { seq: '0', act: 'grant.sign', phase: 'denied', actor: 'test' },
  ]);
});

it('a server that forgets what it acknowledged is refused', async () => {
  const safe = { fsync: 'on', full_page_writes: 'on', synchronous_commit: 'on' };
  expect(() => {
    requireDurable(safe);
  }).not.toThrow();
  for (const unsafe of [
    { fsync: 'off' },
    { full_page_writes: 'off' },
    { synchronous_commit: 'off' },
    { synchronous_commit: 'local' },
    { synchronous_commit: 'remote_write' },
  ]) {
    expect(() => {
      requireDurable({ ...safe, ...unsafe });
    }).toThrow(UnsafeDatabase);
  }
  await query(server.daemon, 'alter role current_user set synchronous_commit = off');
  await expect(openOn(server, signer)).rejects.toThrow(/synchronous_commit must be on/);
  await query(server.daemon, 'alter role current_user reset synchronous_commit');
});

describe('the schema', () => {
  it('is made once by daemons that start together', async () => {
    await server.empty();
    const databases = await Promise.all(
      Array.from({ length: 4 }, () => openOn(server, signer, { owner: server.owner })),
    );
    await databases[3]?.journal.append(writeOf('alone'));
    await Promise.all(databases.map((database) => database.close()));
  });

  it("is not missed by a daemon without its owner's connection", async () => {
    const { openDatabase } = await import('../../src/postgres/database.js');
    const { anchorage, certifier, clock, silent } = await import('./fixtures.js');
    const options = { daemon: server.daemon, signer, certifier, anchorage: anchorage(), clock, log: silent };
    await (await openDatabase(options)).close();
    await server.empty();
    await query(server.owner, `grant usage on schema public to ${server.daemon.user}`);
    await expect(openDatabase(options)).rejects.toBeInstanceOf(SchemaMissing);
  });

  it('can be made and used by one role alone, given as a URL', async () => {
    await server.empty();
    const { user, password, host, database: name } = server.owner;
    const url = `postgresql://${user}:${encodeURIComponent(password)}@/${name}?host=${encodeURIComponent(host)}&port=${server.owner.port}`;
    const database = await openOn(server, signer, { owner: url, daemon: url });
    await database.journal.append(writeOf('alone'));
    await database.close();
    await expect(query(server.owner, 'delete from log_entry')).rejects.toMatchObject({ code: '42501' });
  });
});

it('a database that does not answer is said to be unavailable', async () => {
  const away = { ...server.daemon, host: '/nonexistent' };
  const { openDatabase } = await import('../../src/postgres/database.js');
  const { anchorage, certifier, clock, silent } = await import('./fixtures.js');
  const options = { daemon: away, signer, certifier, anchorage: anchorage(), clock, log: silent };
  const unavailable = { code: 'store-unavailable' };
  await expect(openDatabase(options)).rejects.toMatchObject(unavailable);
  await expect(openDatabase({ owner: away, ...options })).rejects.toMatchObject(unavailable);
});
