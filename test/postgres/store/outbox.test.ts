import type { Outbox } from '../../../src/escrow/ports/outbox.js';
import type { Notice } from '../../../src/escrow/records/notice.ts';
import { Delivery } from '../../../src/notify/deliverer.js';
import type { Database } from '../../../src/postgres/database.js';
import { everyKind, noticeOf } from '../../notify/samples.js';
import { query, startTestServer, type TestServer } from '../../support/postgres.js';
import { softwareSigner } from '../../support/signer.js';
import { openOn } from '../fixtures.js';
import { writeOf } from '../records.js';
import { LIMITS_MS } from '../../support/limits.js';

jest.setTimeout(LIMITS_MS.database);

let server: TestServer;
let one: Database;
let other: Database;

beforeAll(async () => {
  server = await startTestServer();
  const signer = softwareSigner();
  one = await openOn(server, signer);
  other = await openOn(server, signer);
});
afterAll(async () => {
  await one.close();
  await other.close();
  await server.stop();
});

const START = { entry: 0, position: 0 };
const given = { notice: noticeOf(), fault: 'No.' };

/** A sink of this name, at the beginning of the log. */
async function sinkAtStart(name: string): Promise<string> {
  await one.outbox.register(name);
  await query(server.owner, 'update notification_sink set next_entry = 0 where name = $1', [name]);
  return name;
}

/** As if the lease had run out. */
async function leaseRunsOut(name: string): Promise<void> {
  await query(server.owner, 'update notification_sink set leased_until = now() where name = $1', [name]);
}

async function append(database: Database, entries: number): Promise<void> {
  for (let at = 0; at < entries; at += 1) await database.journal.append(writeOf('alone'));
}

test('a new sink begins at the end of the log, and a known one stays where it is', async () => {
  await append(one, 3);
  const size = (await one.log.entries(0, 100)).length;
  await one.outbox.register('new');
  expect(await one.outbox.lease('new')).toMatchObject({ place: { entry: size, position: 0 } });
  await append(one, 1);
  await other.outbox.register('new');
  expect(await one.outbox.lease('new')).toMatchObject({ place: { entry: size, position: 0 } });
  expect(await one.outbox.states(['new', 'unheard-of'])).toEqual([
    { sink: 'new', waiting: 1, next: size, fault: undefined, dropped: 0 },
  ]);
});

test('a sink is with one daemon, until it lets go or its lease runs out', async () => {
  const sink = await sinkAtStart('leased');
  expect(await one.outbox.lease(sink)).toEqual({ place: START, attempts: 0, notBefore: undefined });
  expect(await one.outbox.lease(sink)).toBeDefined();
  expect(await other.outbox.lease(sink)).toBeUndefined();
  await other.outbox.release(sink);
  expect(await other.outbox.lease(sink)).toBeUndefined();
  await one.outbox.release(sink);
  expect(await other.outbox.lease(sink)).toBeDefined();
  await leaseRunsOut(sink);
  expect(await one.outbox.lease(sink)).toBeDefined();
});

test('a daemon without the lease, or that is behind, changes nothing', async () => {
  const sink = await sinkAtStart('contested');
  const next = { entry: 1, position: 2 };
  const failure = { attempts: 1, notBefore: new Date(), fault: 'Out.' };
  const changes = (outbox: Outbox): Promise<readonly boolean[]> =>
    Promise.all([
      outbox.advance(sink, START, next),
      outbox.postpone(sink, START, failure),
      outbox.drop(sink, START, next, given),
    ]);
  expect(await changes(one.outbox)).toEqual([false, false, false]); // not leased
  await one.outbox.lease(sink);
  expect(await changes(other.outbox)).toEqual([false, false, false]); // another's
  expect(await one.outbox.advance(sink, START, next)).toBe(true);
  expect(await changes(one.outbox)).toEqual([false, false, false]); // no longer there
  await leaseRunsOut(sink);
  expect(await one.outbox.advance(sink, next, { entry: 2, position: 0 })).toBe(false); // has run out
  expect(await one.outbox.lease(sink)).toMatchObject({ place: next });
  expect(await one.outbox.states([sink])).toMatchObject([{ fault: undefined, dropped: 0 }]);
});

test('a failure is remembered with when to try again, and forgotten with the next success', async () => {
  const sink = await sinkAtStart('postponed');
  await one.outbox.lease(sink);
  const notBefore = new Date('2026-02-03T04:05:06.789Z');
  expect(await one.outbox.postpone(sink, START, { attempts: 3, notBefore, fault: 'Out.' })).toBe(true);
  await one.outbox.release(sink);
  expect(await other.outbox.lease(sink)).toEqual({ place: START, attempts: 3, notBefore });
  expect(await one.outbox.states([sink])).toMatchObject([{ fault: 'Out.' }]);
  expect(await other.outbox.advance(sink, START, { entry: 1, position: 0 })).toBe(true);
  expect(await other.outbox.lease(sink)).toMatchObject({ attempts: 0, notBefore: undefined });
  expect(await one.outbox.states([sink])).toMatchObject([{ fault: undefined }]);
});

test('what is given up is written down with the step over it', async () => {
  const sink = await sinkAtStart('dropping');
  await one.outbox.lease(sink);
  expect(await one.outbox.drop(sink, START, { entry: 0, position: 1 }, given)).toBe(true);
  expect(await one.outbox.states([sink])).toMatchObject([{ dropped: 1 }]);
  expect(
    await query(server.owner, 'select notice, entry, recipient, kind, fault from notification_dropped'),
  ).toEqual([{ notice: noticeOf().id, entry: '7', recipient: 'manager', kind: 'asked', fault: 'No.' }]);
});

test('what was given up is listed newest first, until it is delivered after all; given up again, it is back with why', async () => {
  const sink = await sinkAtStart('again');
  await one.outbox.lease(sink);
  const ids = ['1', '2', '3'].map((digit) => `ntc_${digit.repeat(32)}`);
  for (const [position, id] of ids.entries())
    await one.outbox.drop(
      sink,
      { entry: 0, position },
      { entry: 0, position: position + 1 },
      { notice: noticeOf({ id }), fault: 'No.' },
    );
  const listed = async (): Promise<readonly string[]> => {
    const first = await one.store.givenUp({ sink }, { after: undefined, limit: 2 });
    const rest = await one.store.givenUp({ sink }, { after: first.next, limit: 2 });
    return [...first.items, ...(first.next === undefined ? [] : rest.items)].map(({ notice }) => notice);
  };
  const [a = '', b = '', c = ''] = ids;
  expect(await listed()).toEqual([c, b, a]);
  expect(await one.store.findGivenUp(sink, [a, 'ntc_none'])).toMatchObject([
    { notice: a, sink, entry: 7, to: 'manager', kind: 'asked', fault: 'No.' },
  ]);
  expect(await one.store.findGivenUp('dropping', [a])).toEqual([]);
  const [from, to] = [
    { entry: 0, position: 3 },
    { entry: 0, position: 5 },
  ];
  expect(await other.outbox.advance(sink, from, to, [a])).toBe(false); // another's: nothing is noted
  expect(await one.outbox.advance(sink, from, to, [a, b])).toBe(true);
  expect(await listed()).toEqual([c]);
  expect(await one.store.findGivenUp(sink, [a])).toEqual([]);
  expect(await one.outbox.states([sink])).toMatchObject([{ dropped: 1 }]);
  await one.outbox.drop(
    sink,
    to,
    { entry: 1, position: 0 },
    { notice: noticeOf({ id: b }), fault: 'Still no.' },
  );
  expect(await listed()).toEqual([b, c]);
  expect(await one.store.findGivenUp(sink, [b])).toMatchObject([{ fault: 'Still no.' }]);
});

test('two daemons that deliver at the same time deliver everything once, and one goes on where the other has died', async () => {
  const sink = await sinkAtStart('shared');
  await append(one, 20);
  const handed: string[] = [];
  const deliveryOf = ({ outbox, log }: Database): Delivery =>
    new Delivery(
      {
        name: sink,
        kinds: everyKind,
        deliver: ([{ id }]) => {
          handed.push(id);
          return Promise.resolve({ accepted: 1 });
        },
        close: () => undefined,
      },
      {
        outbox,
        log,
        noticesAgain: () => Promise.resolve([]),
        noticesAbout: ({ index }) => Promise.resolve([noticeOf({ id: `ntc_${index}` })] as readonly Notice[]),
        clock: { now: () => new Date() },
        random: () => 0,
        report: () => undefined,
        pollMs: 1,
      },
    );
  const [first, second] = [deliveryOf(one), deliveryOf(other)];
  const inLog = async (): Promise<readonly string[]> =>
    (await one.log.entries(0, 1_000)).map(({ index }) => `ntc_${index}`);
  for (let turn = 0; turn < 5; turn += 1) await Promise.all([first.round(), second.round(), append(one, 1)]);
  await Promise.all([first.round(), second.round()]);
  expect(handed).toEqual(await inLog());
  await append(one, 5);
  await leaseRunsOut(sink);
  await second.round();
  await second.round();
  expect(handed).toEqual(await inLog());
});

test('the role of the daemon cannot forget what was given up, nor a sink', async () => {
  for (const table of ['notification_sink', 'notification_dropped'])
    await expect(query(server.daemon, `delete from ${table}`)).rejects.toThrow('permission denied');
});
