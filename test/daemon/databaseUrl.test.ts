import { EXIT_CODES, exitCodeOf } from '../../src/daemon/exitCodes.js';
import { decodeEntry } from '../../src/log/entry/entry.js';
import { openCheckpoint } from '../../src/log/note/checkpoint.js';
import { writeOf } from '../postgres/records.js';
import { granted } from '../promises/recoveries.js';
import { makeKey } from '../support/life.js';
import type { TestServer } from '../support/postgres.js';
import { databaseEnvironment, query, startTestServer } from '../support/postgres.js';
import type { System } from '../support/system.js';
import { makeSystem, ORIGIN, RULES } from '../support/system.js';
import { LIMITS_MS } from '../support/limits.js';

jest.setTimeout(LIMITS_MS.system);

let server: TestServer;
let system: System;

beforeAll(async () => {
  server = await startTestServer();
  system = await makeSystem({ environment: databaseEnvironment(server) });
});
afterAll(async () => {
  await system.remove();
  await server.stop();
});

it('with DATABASE_URL the daemon keeps its records on that server, as a role that cannot rewrite the log', async () => {
  const { entry } = await system
    .client('admin-1')
    .generateKey({ owner: 'owner', spec: 'ec-p256', use: 'sign', label: 'elsewhere' });
  expect(await query(server.owner, 'select key from deposit')).toHaveLength(1);
  expect(await query(server.daemon, 'select seq from log_entry where seq = $1', [entry])).toHaveLength(1);
  await expect(query(server.daemon, 'delete from log_entry')).rejects.toMatchObject({ code: '42501' });
  await expect(query(server.owner, 'delete from log_entry')).rejects.toThrow(/append-only/);
});

describe('where a rule says `logged: proven`', () => {
  const message = Buffer.from('an invoice').toString('base64url');
  const use = (grant: string): Promise<unknown> =>
    system.client('app').sign(grant, { mechanism: 'ES256', messages: [message] });

  /** Whether each attempt to sign stood under a checkpoint before its outcome was recorded behind it. */
  async function provenFirst(): Promise<readonly boolean[]> {
    const sizes = (
      await query<{ note: string }>(server.owner, 'select note from log_checkpoint order by size')
    ).map(({ note }) => openCheckpoint(note, system.identity('app').pins.logKey, ORIGIN).size);
    const rows = await query<{ entry: Uint8Array }>(server.owner, 'select entry from log_entry order by seq');
    const signing = rows
      .map(({ entry }, index) => ({ index, ...decodeEntry(entry) }))
      .filter(({ act }) => act === 'grant.sign');
    return signing.flatMap(({ index, id, phase }) => {
      if (phase !== 'attempted') return [];
      const outcome = signing.find((other) => other.id === id && other.phase === 'done')?.index ?? Infinity;
      return [sizes.some((size) => size > index && size <= outcome)];
    });
  }

  it('a use waits for a checkpoint over its attempt, and does not where no rule says so', async () => {
    const key = await makeKey(system, { spec: 'ec-p256', use: 'sign' });
    const { grant } = await granted(system, key);
    // checkpoints that nobody waits for are 250 ms apart: they cannot fall into each of these by chance
    for (let at = 0; at < 6; at += 1) await use(grant);
    const before = await provenFirst();
    expect(before.every((isProven) => isProven)).toBe(false);
    const [first, ...others] = RULES as readonly object[];
    await system.applyRules([{ ...first, logged: 'proven' }, ...others]);
    await use(grant);
    await use(grant);
    expect((await provenFirst()).slice(before.length)).toEqual([true, true]);
  });
});

it('an entry that the daemon’s role puts into the log stops the daemon, and the next one does not start', async () => {
  await query(
    server.daemon,
    `with head as (update log_head set size = size + 1 where id = 1 returning size - 1 as seq)
     insert into log_entry (seq, id, part, entry) select seq, 'act_0', 'alone', $1 from head`,
    [Buffer.from(writeOf('alone', { act: 'recovery.veto' }).entry)],
  );
  await system
    .client('admin-1')
    .generateKey({ owner: 'owner', spec: 'ec-p256', use: 'sign' })
    .catch(() => undefined);
  const failure = await system.failed();
  expect(failure.message).toMatch(/^the entry \d+ was not written by a daemon$/);
  expect(exitCodeOf(failure)).toBe(EXIT_CODES.logDamaged.code);
  const refused = system.client('admin-1').generateKey({ owner: 'owner', spec: 'ec-p256', use: 'sign' });
  await expect(refused).rejects.toMatchObject({ code: 'log-unavailable' });
  await system.stopDaemon();
  await expect(system.startDaemon()).rejects.toThrow('was not written by a daemon');
});
