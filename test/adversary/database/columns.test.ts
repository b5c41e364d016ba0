import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { Client } from 'pg';
import pkcs11 from 'pkcs11js';
import { parse, stringify } from 'yaml';

import type { ConnectionSettings } from '../../../src/privatePostgres/lock.js';
import { granted } from '../../promises/recoveries.js';
import { entriesFrom, expectLogHolds } from '../../promises/wholeLog.js';
import { query } from '../../support/postgres.js';
import { openRaw } from '../../support/rawToken.js';
import type { System } from '../../support/system.js';
import { until } from '../../support/waiting.js';
import type { ColumnAttack } from './columnAttacks.js';
import { attacksOn, REFUSED, SURROUNDINGS } from './columnAttacks.js';
import type { ColumnScene } from './columnScene.js';
import { ACTS, makeColumnScene, outcomeOf, PREPARATIONS, sign } from './columnScene.js';
import { LIMITS_MS } from '../../support/limits.js';

jest.setTimeout(LIMITS_MS.system);

/*
 * Somebody with the database changes one column, whichever there is, on a system that runs; somebody acts; what they are answered
 * stands in a row, and the column is as it was before. Afterwards everything still works, and the log is believed.
 */
let scene: ColumnScene;
let attacks: Readonly<Record<string, readonly ColumnAttack[]>>;
beforeAll(async () => {
  scene = await makeColumnScene();
  attacks = attacksOn(scene);
});
afterAll(() => scene.system.remove());

/** Tables whose rows are put back one by one. */
const BY_ROW = [
  'grant_',
  'recovery',
  'deposit',
  'policy',
  'policy_head',
  'log_head',
  'log_subject_head',
] as const;
/** Tables that are put back whole: acts leave new rows in them. */
const WHOLE: ReadonlySet<string> = new Set([
  'idempotency_key',
  'idempotency_outcome',
  'request_seen',
  'instance',
]);
const APPEND_ONLY: ReadonlySet<string> = new Set(['policy']);

async function columns(): Promise<ReadonlyMap<string, readonly string[]>> {
  const rows = await query<{ table: string; column: string }>(
    scene.daemon,
    `select table_name as table, column_name as column from information_schema.columns
     where table_schema = 'public' order by table_name, ordinal_position`,
  );
  const found = new Map<string, string[]>();
  for (const { table, column } of rows) found.set(table, [...(found.get(table) ?? []), column]);
  return found;
}

/** The members of the JSON of which a column is, as attacks name them. */
async function membersOf(table: string): Promise<readonly string[]> {
  const rows = await query<{ member: string }>(
    scene.owner,
    `select distinct jsonb_object_keys(document) as member from ${table} order by 1`,
  );
  return rows.map(({ member }) => member);
}

const attacked = (table: string): readonly string[] =>
  (attacks[table] ?? []).flatMap(({ set }) => Object.keys(set));
const attackedMembers = (table: string): ReadonlySet<string> =>
  new Set(
    (attacks[table] ?? []).flatMap(({ set }) => {
      const path = /^jsonb_set\(document, '\{(\w+)/.exec(set['document'] ?? '')?.[1];
      return path === undefined ? [] : [path];
    }),
  );

test('every column that the daemon’s role can read has a row, and every row a column', async () => {
  const found = await columns();
  expect(found.size).toBeGreaterThan(20);
  const named = new Map<string, Set<string>>();
  for (const [table, names] of [
    ...Object.entries(REFUSED),
    ...Object.entries(SURROUNDINGS),
    ...Object.keys(attacks).map((table) => [table, attacked(table)] as const),
  ])
    named.set(table, new Set([...(named.get(table) ?? []), ...names]));
  const sorted = (of: ReadonlyMap<string, Iterable<string>>): object =>
    Object.fromEntries([...of].sort().map(([table, names]) => [table, [...names].sort()]));
  expect(sorted(named)).toEqual(sorted(found));
  for (const table of ['recovery', 'deposit']) {
    const members = await membersOf(table);
    expect(members.length).toBeGreaterThan(10);
    // of a secret alone: here it is put into the record of a key
    const others = table === 'deposit' ? ['checkValue'] : [];
    expect([...attackedMembers(table)].sort()).toEqual([...members, ...others].sort());
  }
});

test('every row names the test that shows its attack succeed, or why there is none', () => {
  for (const { control } of Object.values(attacks).flat()) {
    const [, file, words = ''] = /^([\w./]+\.test\.ts): (.+)$/.exec(control) ?? [];
    if (file === undefined) continue;
    const text = readFileSync(join(import.meta.dirname, file), 'utf8');
    for (const each of words.split(' | '))
      expect({ control, stands: text.includes(each) }).toEqual({ control, stands: true });
  }
});

test.each(Object.entries(REFUSED))('nothing of %s is changed by the daemon’s role', async (table, names) => {
  for (const name of names) {
    const value = `${name} = ${name}`;
    await expect(query(scene.daemon, `update ${table} set ${value}`)).rejects.toMatchObject({
      // no right to it, a column that the database makes itself, or a view
      code: expect.stringMatching(/^(42501|428C9|55000)$/) as string,
    });
  }
});

describe.each([...BY_ROW, ...WHOLE])('a change of %s', (table) => {
  test('is answered as its row says, and gains nothing', () => playAll(table));
});

test('every table that has rows is played, and every one that is played has rows', () => {
  expect([...BY_ROW, ...WHOLE].sort()).toEqual(Object.keys(attacks).sort());
});

async function playAll(table: string): Promise<void> {
  const rows = attacks[table] ?? [];
  expect(rows.length).toBeGreaterThan(0);
  const came: string[] = [];
  for (const attack of rows) came.push(`${nameOf(attack)} → ${await play(table, attack)}`);
  expect(came).toEqual(rows.map((attack) => `${nameOf(attack)} → ${attack.answer}`));
}

function nameOf({ set, act }: ColumnAttack): string {
  return `${Object.entries(set)
    .map(([column, value]) => `${column} = ${value.slice(0, 60)}`)
    .join(', ')}; ${act}`;
}

async function play(table: string, attack: ColumnAttack): Promise<string> {
  await PREPARATIONS[attack.act]?.(scene);
  const back = await restorer(table, attack);
  try {
    try {
      await change(table, attack);
    } catch (error) {
      // the database refuses: a constraint, or a column that it makes itself
      if (/^(23514|428C9)$/.test((error as { readonly code?: string }).code ?? '')) return 'refused';
      throw error;
    }
    return await outcomeOf(ACTS[attack.act](scene));
  } finally {
    await back();
  }
}

async function change(table: string, { set, sql, where, by }: ColumnAttack): Promise<void> {
  const assignments = Object.entries(set).map(([column, value]) => `${column} = ${value}`);
  await within(by === 'owner' ? scene.owner : scene.daemon, table, async (client) => {
    const usual = `update ${table} set ${assignments.join(', ')} where ${where}`;
    const done = await client.query(sql ?? usual);
    if (sql === undefined) expect(done.rowCount).toBeGreaterThan(0);
  });
}

/** Remembers what stands there, and gives what puts it back. */
async function restorer(
  table: string,
  { set, where, after = where }: ColumnAttack,
): Promise<() => Promise<void>> {
  if (WHOLE.has(table)) {
    const [all] = await query<{ rows: unknown }>(
      scene.owner,
      `select coalesce(jsonb_agg(to_jsonb(t)), '[]') as rows from ${table} t`,
    );
    return () =>
      within(scene.owner, table, async (client) => {
        await client.query(`delete from ${table}`);
        await client.query(
          `insert into ${table} select * from jsonb_populate_recordset(null::${table}, $1)`,
          [JSON.stringify(all?.rows)],
        );
      });
  }
  const names = Object.keys(set);
  const texts = names.map((name) => `${name}::text as ${name}`);
  const [before] = await query<Record<string, string>>(
    scene.owner,
    `select ${texts.join(', ')} from ${table} where ${where}`,
  );
  if (before === undefined) throw new Error(`there is no row of ${table} where ${where}`);
  const types = await query<{ column: string; type: string }>(
    scene.owner,
    `select column_name as column, udt_name as type from information_schema.columns
     where table_name = $1 and is_generated = 'NEVER'`,
    [table],
  );
  const kept = types.filter(({ column }) => names.includes(column));
  const values = kept.map(({ column, type }, at) => `${column} = $${at + 1}::text::${type}`);
  return async () => {
    if (kept.length === 0) return;
    await within(scene.owner, table, (client) =>
      client.query(
        `update ${table} set ${values.join(', ')} where ${after}`,
        kept.map(({ column }) => before[column]),
      ),
    );
  };
}

/** In one transaction; of what is append-only, by an owner who has switched that off. */
async function within(
  by: ConnectionSettings,
  table: string,
  work: (client: Client) => Promise<unknown>,
): Promise<void> {
  const client = new Client({ ...by, ssl: false });
  await client.connect();
  try {
    await client.query('begin');
    if (APPEND_ONLY.has(table)) await client.query(`alter table ${table} disable trigger append_only`);
    await work(client);
    if (APPEND_ONLY.has(table)) await client.query(`alter table ${table} enable always trigger append_only`);
    await client.query('commit');
  } finally {
    await client.end();
  }
}

describe('open_act, of which there are rows only while something is under way', () => {
  const columns = '(id, instance, holds_recovery, seq, keyed)';

  test('an act that is done gets no second outcome, whoever is said to have left it open', async () => {
    const { system, daemon, lines } = scene;
    const [attempt] = await query<{ id: string; seq: string }>(
      scene.owner,
      `select id, seq from log_entry where part = 'opens' order by seq limit 1`,
    );
    if (attempt === undefined) throw new Error('nothing was attempted');
    await query(daemon, `insert into open_act ${columns} values ($1, 'gone', null, $2, false)`, [
      attempt.id,
      attempt.seq,
    ]);
    const seen = lines.length;
    // it keeps house before it serves
    await system.stopDaemon();
    await system.startDaemon();
    const told = lines.slice(seen).map(({ message }) => String(message));
    expect(told).toContainEqual(expect.stringContaining('have an act as open that is not'));
    await query(daemon, 'delete from open_act where id = $1', [attempt.id]);
    await sign(system, scene.live);
    await expectLogHolds(system);
  });

  test('a request that is said to be held can wait, and no more', async () => {
    const { daemon, due } = scene;
    for (const keyed of [false, true]) {
      await query(
        daemon,
        `insert into open_act ${columns} select 'act_x', id, $1, 0, $2 from instance limit 1`,
        [due, keyed],
      );
      expect(await outcomeOf(ACTS.release(scene))).toBe('busy');
      await query(daemon, `delete from open_act where id = 'act_x'`);
    }
  });
});

test('nobody who is told of acts decides them: notification_sink, notification_dropped', async () => {
  const { daemon, system, live } = scene;
  await query(daemon, `insert into notification_sink (name, next_entry) values ('nowhere', 9999999)`);
  await query(
    daemon,
    `insert into notification_dropped (sink, notice, entry, recipient, kind, fault, dropped_at)
     values ('nowhere', 'ntc_1', 0, 'other-owner', 'asked', 'none', now())`,
  );
  await sign(system, live);
  expect(await outcomeOf(ACTS['see it'](scene))).toBe('done');
});

/** A row as it stands, and what puts it back. */
async function kept(table: 'recovery' | 'grant_', id: string): Promise<() => Promise<unknown>> {
  const [row] = await query<{ row: object }>(
    scene.owner,
    `select to_jsonb(t) - 'quorums' as row from ${table} t where id = $1`,
    [id],
  );
  if (row === undefined) throw new Error(`there is no ${id}`);
  const names = Object.keys(row.row).join(', ');
  return () =>
    query(
      scene.owner,
      `update ${table} t set (${names}) = (select ${names} from jsonb_populate_record(t, $2)) where id = $1`,
      [id, JSON.stringify(row.row)],
    );
}

/** Puts an object into the token that looks like a grant of nobody's; returns its label. */
function plantStray(system: System): string {
  const label = `grant:grant_${'5'.repeat(32)}`;
  const raw = openRaw(system.hsm, 'as is');
  raw.driver.C_GenerateKey(raw.session, { mechanism: pkcs11.CKM_AES_KEY_GEN }, [
    { type: pkcs11.CKA_TOKEN, value: true },
    { type: pkcs11.CKA_LABEL, value: label },
    { type: pkcs11.CKA_VALUE_LEN, value: 32 },
  ]);
  raw.close();
  return label;
}

const isTidied = (act: string, phase: string): boolean => act === 'token.tidy' && phase === 'done';

describe('housekeeping, before a daemon serves and after', () => {
  // every member of a record, and each to anything, in housekeeping.test.ts
  const spoilt = (): readonly (readonly ['recovery' | 'grant_', string, string])[] => [
    ['grant_', scene.live, `status = 'revoked', used = max_uses, expires_at = starts_at`],
    ['grant_', scene.paced, `scope = '{}', key = 'none', owner = 'none', recent = '{}'`],
    [
      'recovery',
      scene.due,
      `status = 'expired', document = jsonb_set(document, '{state}', '{"status": "expired"}')`,
    ],
    ['recovery', scene.pending, `document = '{}', revision = 99, keys = '{}'`],
    [
      'recovery',
      scene.vetoed,
      `status = 'pending', document = jsonb_set(document, '{state}', '{"status": "pending"}')`,
    ],
  ];

  test('no row keeps a daemon from starting, ends anything early or has an object destroyed; what is due is done, or named', async () => {
    const { system, daemon, signing, lines, live } = scene;
    const used = async (): Promise<string> => {
      const { grant } = await granted(system, signing, { maxUses: 1 });
      await sign(system, grant);
      return grant;
    };
    const [due, unreadable] = [await used(), await used()];
    const back = await Promise.all([
      kept('grant_', unreadable),
      ...spoilt().map(([table, id]) => kept(table, id)),
    ]);
    const { length: told } = lines;
    for (const [table, id, values] of [['grant_', unreadable, `key = 'none'`] as const, ...spoilt()])
      await query(daemon, `update ${table} set ${values} where id = $1`, [id]);
    const stray = plantStray(system);
    await system.stopDaemon();
    const config = parse(readFileSync(system.configFile, 'utf8')) as object;
    writeFileSync(system.configFile, stringify({ ...config, housekeepingMs: 200 }));
    await system.startDaemon();
    // by then everything was looked at twice
    await until(async () => (await entriesFrom(system, 0)).some(({ act, phase }) => isTidied(act, phase)));
    // the database goes with its daemon, whose next round would be in an hour
    await system.stopDaemon();
    writeFileSync(system.configFile, stringify(config));
    await system.startDaemon();
    for (const restore of back) await restore();
    const alarms = lines.slice(told).filter(({ alarm }) => alarm !== undefined);
    const named: unknown = expect.objectContaining({
      alarm: 'record-mismatch',
      records: expect.stringMatching(new RegExp(`^${unreadable} \\(The log says something else`)) as string,
    });
    expect(alarms).toEqual([named, named]);
    const ended = (await entriesFrom(system, 0))
      .filter(({ act, phase }) => /\.(exhaust|expire|forget)$/.test(act) && phase === 'done')
      .map(({ act, subject }) => `${act} ${subject.grant ?? subject.recovery ?? ''}`);
    expect(ended).toContain(`grant.exhaust ${due}`);
    const victims = [unreadable, ...spoilt().map(([, id]) => id)];
    expect(ended.filter((end) => victims.some((id) => end.includes(id)))).toEqual([]);
    const tidied = (await entriesFrom(system, 0)).filter(({ act }) => act === 'token.tidy');
    expect(tidied).toMatchObject([
      { phase: 'attempted', detail: { objects: [stray] } },
      { phase: 'done', detail: { destroyed: 1 } },
    ]);
    await sign(system, live);
    await expectLogHolds(system);
  });
});

describe('when everything is as it was', () => {
  test('nothing was lost: what was due is released, what was pending approved, and the grant used', async () => {
    const { system, due, pending, live } = scene;
    await sign(system, live);
    expect((await system.approve('officer-2', pending)).status).toBe('approved');
    for (const recovery of [due, pending]) {
      const { result } = await system.client('manager').release(recovery);
      expect(result.keys).toHaveLength(1);
    }
    expect(await outcomeOf(ACTS['send an order again'](scene))).toBe('request-replayed');
    expect(await outcomeOf(ACTS['order by the same key'](scene))).toBe('done');
  });

  test('log_frontier, of which trees are made: with another the daemon stops, and signs none', async () => {
    const { system, daemon, live } = scene;
    await expect(query(daemon, 'update log_frontier set id = 2')).rejects.toMatchObject({ code: '23514' });
    for (const other of [`size = size + 1`, `frontier = frontier || '\\x00'`]) {
      const failed = system.failed();
      // in one statement: a tree that is made meanwhile has another
      const [before] = await query<{ size: string; frontier: Buffer }>(
        daemon,
        `with before as materialized (select size, frontier from log_frontier for update),
              gone as (update log_frontier set ${other})
         select size, frontier from before`,
      );
      // before the next tree is made, or behind
      expect(['done', 'log-unavailable']).toContain(await outcomeOf(sign(system, live)));
      expect(String(await failed)).toContain('the stored frontier');
      const values = [before?.size, before?.frontier];
      await query(scene.owner, 'update log_frontier set size = $1, frontier = $2', values);
      await system.stopDaemon();
      await system.startDaemon();
      await sign(system, live);
    }
  });

  test('the log is believed, and what is reported in it was denied', async () => {
    const { reported } = await expectLogHolds(scene.system);
    expect(reported.first.filter(({ came }) => came !== 'denied' && came !== 'refused')).toEqual([]);
  });
});
