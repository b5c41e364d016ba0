import { request } from 'node:http';

import { EscrowError } from '../../src/escrow/records/errors.js';
import type { HealthParts, HealthWatch } from '../../src/daemon/health.js';
import { AlarmBook, watchHealth } from '../../src/daemon/health.js';
import { listenForManagement } from '../../src/http/management.js';
import { keptLog } from '../support/operatorLines.js';

const NOW = new Date('2026-03-01T12:00:00.000Z');
const { log, lines } = keptLog();
// each test has a book of its own in it
log.setMaxListeners(0);

let asked: number;
let state: { token: boolean; database: boolean; hangs: boolean };
let watch: HealthWatch;
let release: (why: Error) => void;

const parts = (): HealthParts => ({
  token: {
    older: [],
    requireInService: () => {
      if (!state.token) throw new EscrowError('token-unavailable');
    },
  },
  database: {
    health: () => {
      asked += 1;
      if (state.hangs) return new Promise((_resolve, reject) => (release = reject));
      const works = {
        answers: true,
        entries: 0,
        checkpointed: 0,
        journalFault: undefined,
        integratorFault: undefined,
        clocksApartMs: undefined,
      } as const;
      return Promise.resolve(state.database ? works : { answers: false });
    },
  },
  witnessing: { silent: ['w.example'] },
  notifications: {
    states: () => Promise.resolve([{ sink: 'smtp', waiting: 3, next: 7, fault: undefined, dropped: 1 }]),
  },
  alarms: new AlarmBook(log, () => NOW),
  unenforced: ['clulow'],
});

beforeEach(async () => {
  jest.useFakeTimers();
  asked = 0;
  release = () => undefined;
  state = { token: true, database: true, hangs: false };
  watch = await watchHealth(parts(), { everyMs: 1000, staleMs: 5000, log });
});
afterEach(async () => {
  release(new Error('at last'));
  jest.useRealTimers();
  await watch.stop();
});

test('keys of an older ceremony are named, the KEKs first, with what to do; and no line is without end', async () => {
  const older = [
    ...Array.from({ length: 300 }, (_, at) => `depositary:d-${at}`),
    'kek:operate:v1',
    'kek:release:v1',
  ];
  const options = { everyMs: 1000, staleMs: 5000, log };
  const base = parts();
  const renewed = await watchHealth({ ...base, token: { ...base.token, older } }, options);
  const few = await watchHealth({ ...base, token: { ...base.token, older: ['kek:operate:v1'] } }, options);
  const [, note = ''] = renewed.latest().notes;
  expect(note).toMatch(
    /^Keys of an older ceremony are in use \(kek:operate:v1, kek:release:v1, depositary:d-0, .* and 294 more\): run `ceremony renew`\.$/,
  );
  expect(few.latest().notes[1]).toBe(
    'Keys of an older ceremony are in use (kek:operate:v1): run `ceremony renew`.',
  );
  expect(watch.latest().notes).toHaveLength(1);
  await renewed.stop();
  await few.stop();
});

test('a certificate of the daemon that is over keeps it from working, and one that ends is a note', async () => {
  const state = (): { problems: string[]; notes: string[] } => ({
    problems: ['it has expired'],
    notes: ['it ends'],
  });
  const options = { everyMs: 1000, staleMs: 5000, log };
  const over = await watchHealth({ ...parts(), certificates: { state } }, options);
  expect(over.latest()).toMatchObject({ ok: false, problems: ['it has expired'] });
  expect(over.latest().notes).toContain('it ends');
  await over.stop();
});

test('health is found by a timer, and to be asked for it costs nothing', async () => {
  for (let turn = 0; turn < 1000; turn += 1) watch.latest();
  expect(asked).toBe(1);
  state.token = false;
  expect(watch.latest().ok).toBe(true);
  await jest.advanceTimersByTimeAsync(1000);
  expect(asked).toBe(2);
  expect(watch.latest()).toMatchObject({ ok: false, problems: ['The token does not answer.'] });
  state = { token: true, database: false, hangs: false };
  await jest.advanceTimersByTimeAsync(1000);
  expect(watch.latest()).toMatchObject({ ok: false, problems: ['The database does not answer.'] });
  state.database = true;
  await jest.advanceTimersByTimeAsync(1000);
  expect(watch.latest().ok).toBe(true);
});

test('what keeps the daemon from working is a line when it begins, and one when it is over', async () => {
  lines.length = 0;
  const told = (): readonly unknown[] => lines.splice(0).map(({ level, problem }) => [level, problem]);
  state.database = false;
  for (let round = 0; round < 5; round += 1) await jest.advanceTimersByTimeAsync(1000);
  expect(told()).toEqual([['warn', 'The database does not answer.']]);
  state = { token: false, database: true, hangs: false };
  for (let round = 0; round < 5; round += 1) await jest.advanceTimersByTimeAsync(1000);
  expect(told()).toEqual([
    ['warn', 'The token does not answer.'],
    ['info', 'The database does not answer.'],
  ]);
  state.token = true;
  for (let round = 0; round < 5; round += 1) await jest.advanceTimersByTimeAsync(1000);
  expect(told()).toEqual([['info', 'The token does not answer.']]);
});

test('what was found too long ago is not believed', async () => {
  state.hangs = true;
  await jest.advanceTimersByTimeAsync(9000);
  expect(watch.latest().ok).toBe(true);
  await jest.advanceTimersByTimeAsync(2000);
  expect(watch.latest()).toMatchObject({
    ok: false,
    problems: ['How the daemon is has not been found for too long.'],
  });
});

test('an alarm is told with how often it was, and does not make the daemon unready', async () => {
  const book = new AlarmBook(log, () => NOW);
  watch = await watchHealth({ ...parts(), alarms: book }, { everyMs: 1000, staleMs: 5000, log });
  log.error('two of them', { alarm: 'token-object-twice' });
  log.error('two of them again', { alarm: 'token-object-twice' });
  log.error('something else');
  await jest.advanceTimersByTimeAsync(0);
  expect(watch.latest()).toMatchObject({
    ok: true,
    alarms: [{ alarm: 'token-object-twice', message: 'two of them again', times: 2, lastAt: NOW }],
  });
});

test('the management listener has the details, of GET and its paths only', async () => {
  const found = watch.latest();
  jest.useRealTimers();
  const listener = await listenForManagement(
    { host: '127.0.0.1', port: 0 },
    {
      health: () => found,
      metrics: () => Promise.reject(new Error('none')),
    },
  );
  const get = (path: string, method = 'GET'): Promise<{ status: number; json: unknown }> =>
    new Promise((resolve, reject) => {
      const outgoing = request({ host: '127.0.0.1', port: listener.port, path, method }, (incoming) => {
        let text = '';
        incoming.on('data', (chunk: Buffer) => (text += chunk.toString()));
        incoming.on('end', () => {
          resolve({ status: incoming.statusCode ?? 0, json: JSON.parse(text) as unknown });
        });
      });
      outgoing.on('error', reject);
      outgoing.end();
    });
  expect(await get('/readyz')).toEqual({
    status: 200,
    json: {
      status: 'ready',
      problems: [],
      alarms: [],
      notes: ['The witness w.example does not cosign now.'],
      unenforced: ['clulow'],
      notifications: [{ sink: 'smtp', waiting: 3, dropped: 1 }],
    },
  });
  expect(await get('/healthz')).toEqual({ status: 200, json: { status: 'ok' } });
  expect(await get('/metrics')).toEqual({ status: 500, json: { status: 'failed' } });
  expect((await get('/v1/server')).status).toBe(404);
  expect((await get('/metrics', 'POST')).status).toBe(404);
  expect((await get('/readyz', 'POST')).status).toBe(404);
  await listener.close();
});
