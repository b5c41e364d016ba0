import { softwareSigner } from './signer.js';
import type { Ask, TestServer } from './postgres.js';
import { onConnection, query, startTestServer } from './postgres.js';
import { schemaDigest } from './unusedDatabase.js';
import { openOn } from '../postgres/fixtures.js';
import { writeOf } from '../postgres/records.js';
import { LIMITS_MS } from './limits.js';

jest.setTimeout(LIMITS_MS.database);

const signer = softwareSigner();
let server: TestServer;
let fresh: readonly string[];

beforeAll(async () => {
  server = await startTestServer();
  fresh = await onConnection(server.owner, contents);
});
afterAll(() => server.stop());

/** Every row of every table, and what the catalogue says of tables, columns, guards and rights. */
async function contents(ask: Ask): Promise<readonly string[]> {
  const tables = await ask<{ name: string }>(
    `select tablename as name from pg_tables where schemaname = 'public' order by 1`,
  );
  const found: string[] = [];
  for (const { name } of tables) {
    const rows = await ask<{ text: string }>(
      `select (to_jsonb(t) - 'migration_time')::text as text from ${name} t order by 1`,
    );
    found.push(...rows.map(({ text }) => `${name} ${text}`));
  }
  const about = await ask<{ text: string }>(`
    select format('%s %s', relname, relacl) as text from pg_class where relnamespace = 'public'::regnamespace
    union all select format('%s %s', tgname, tgenabled) from pg_trigger where not tgisinternal
    union all select format('%s %s', table_name, column_name) from information_schema.columns
      where table_schema = 'public'
    order by 1`);
  return [...found, ...about.map(({ text }) => text)];
}

async function use(): Promise<void> {
  const database = await openOn(server, signer);
  await database.journal.append(writeOf('alone'));
  await database.log.inclusion(0);
  await database.close();
}

test('a database that was used is not as a fresh one', async () => {
  await use();
  expect(await onConnection(server.owner, contents)).not.toEqual(fresh);
  await server.reset();
});

test('a database that was reset is as a fresh one', async () => {
  await use();
  await server.reset();
  expect(await onConnection(server.owner, contents)).toEqual(fresh);
  await use();
  await query(server.owner, 'alter table log_entry disable trigger user');
  await server.reset();
  expect(await onConnection(server.owner, contents)).toEqual(fresh);
  await use();
});

test.each([
  'alter table log_entry disable trigger user',
  'alter table policy enable trigger user',
  'grant delete on log_entry to escrowd_daemon',
  'revoke select on log_entry from escrowd_daemon',
  'revoke update (size) on log_head from escrowd_daemon; grant update (size) on log_head to escrowd_daemon',
  'alter table deposit add column more text',
  'alter table recovery alter column filed_at drop not null',
  'alter table log_entry drop constraint log_entry_pkey',
  'create table mine (id int)',
  'create index mine on log_entry (about_key, about_owner)',
  `create function mine() returns int language sql as 'select 1'`,
  'create view mine as select 1 as one',
  'delete from knex_migrations where id = (select max(id) from knex_migrations)',
  'create schema mine',
  'alter role escrowd_owner set synchronous_commit = off',
])('that a test has changed the schema is seen: %s', async (change) => {
  await onConnection(server.owner, async (ask) => {
    const before = await schemaDigest(ask);
    await ask('begin');
    await ask(change);
    expect(await schemaDigest(ask)).not.toBe(before);
    await ask('rollback');
    expect(await schemaDigest(ask)).toBe(before);
  });
});
