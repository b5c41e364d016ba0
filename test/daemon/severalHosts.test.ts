import { lookAtServer } from '../../src/postgres/serverCheck.js';
import { granted } from '../promises/recoveries.js';
import { makeKey } from '../support/life.js';
import { LIMITS_MS } from '../support/limits.js';
import { keptLog } from '../support/operatorLines.js';
import { query } from '../support/postgres.js';
import { type PairedServer, type ServerPair, startServerPair } from '../support/standby.js';
import { makeSystem, type System } from '../support/system.js';
import { until } from '../support/waiting.js';

jest.setTimeout(LIMITS_MS.system);

/*
 * A primary and its synchronous standby in one DATABASE_URL, and a daemon that is never started anew. The tests go on from each
 * other: the primary crashes once, and comes back once.
 */

let pair: ServerPair;
let system: System;
let grant: string;
const operators = keptLog();

beforeAll(async () => {
  pair = await startServerPair();
  const { primary, standby } = pair;
  system = await makeSystem({
    operatorLog: operators.log,
    // the standby stands first, as it may after a fail-over
    environment: {
      DATABASE_URL: pair.urlOf([standby, primary], 'daemon'),
      DATABASE_OWNER_URL: pair.urlOf([standby, primary], 'owner'),
    },
    config: () => ({ database: { waitMs: 4_000 } }),
  });
  const key = await makeKey(system, { spec: 'ec-p256', use: 'sign' });
  ({ grant } = await granted(system, key, { maxUses: 100 }));
});
afterAll(async () => {
  await system.remove();
  await pair.remove();
});

/** The entry that the outcome of a signature is in. */
async function sign(): Promise<number> {
  const messages = [Buffer.from('an invoice').toString('base64url')];
  return (await system.client('app').sign(grant, { mechanism: 'ES256', messages })).entry;
}

async function entriesOn(server: PairedServer): Promise<readonly number[]> {
  const rows = await query<{ seq: string }>(server.owner, 'select seq from log_entry order by seq');
  return rows.map(({ seq }) => Number(seq));
}

const look = (): ReturnType<typeof lookAtServer> =>
  lookAtServer(pair.urlOf([pair.primary, pair.standby], 'daemon'), {
    ...{ as: 'daemon', isMigrated: false, connectMs: 4_000 },
  });

test('a daemon works on the one that can be written to, wherever it stands in the list', async () => {
  const entry = await sign();
  expect(await entriesOn(pair.primary)).toContain(entry);
  // what is acknowledged is on the standby too
  expect(await entriesOn(pair.standby)).toContain(entry);
  expect(await look()).toMatchObject({ faults: [], warnings: [] });
});

test('it goes on by itself on the standby that was promoted, and nothing that was answered is lost', async () => {
  const answered: number[] = [];
  const refused: unknown[] = [];
  let isOver = false;
  const caller = async (): Promise<void> => {
    while (!isOver) {
      await sign().then(
        (entry) => answered.push(entry),
        (error: unknown) => refused.push((error as { code?: unknown }).code ?? error),
      );
    }
  };
  const callers = [caller(), caller(), caller()];
  await until(() => answered.length >= 5);
  await pair.primary.crash();
  await pair.standby.promote();
  const before = answered.length;
  await until(() => answered.length >= before + 5);
  isOver = true;
  await Promise.all(callers);
  expect(await entriesOn(pair.standby)).toEqual(expect.arrayContaining(answered));
  // those under way when the primary crashed may have been told so, and nothing else
  const isKnown = (code: unknown): boolean => ['log-unavailable', 'store-unavailable'].includes(String(code));
  expect(refused.filter((code) => !isKnown(code))).toEqual([]);
  await until(async () => (await system.health()).status === 'ready');
});

test('a server that nobody answers at is said to be one on which a daemon could not go on', async () => {
  const { faults, warnings } = await look();
  expect(faults).toEqual([]);
  expect(warnings).toMatchObject([
    {
      what: expect.stringMatching(
        `one of the servers: 127.0.0.1:${pair.primary.port}: .*ECONNREFUSED`,
      ) as string,
    },
  ]);
});

test('a primary of before that comes back as it was, and can be written to, is not gone to', async () => {
  const before = await entriesOn(pair.standby);
  await pair.primary.start();
  const stale = await entriesOn(pair.primary);
  expect(stale.length).toBeLessThan(before.length);
  // all connections of the daemon are made anew
  await query(
    pair.standby.daemon,
    `select pg_terminate_backend(pid) from pg_stat_activity where usename = current_user and pid <> pg_backend_pid()`,
  );
  let entry = 0;
  await until(async () => {
    entry = await sign().catch(() => 0);
    return entry > 0;
  });
  expect(await entriesOn(pair.standby)).toContain(entry);
  expect(await entriesOn(pair.primary)).toEqual(stale);
  expect(operators.lines.filter(({ alarm }) => alarm !== undefined)).toEqual([]);
});
