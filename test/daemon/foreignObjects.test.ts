import type { UnaccountedObject } from '../../src/escrow/ports/token.js';
import { watchObjects } from '../../src/daemon/foreignObjects.js';
import { AlarmBook } from '../../src/daemon/health.js';
import { keptLog } from '../support/operatorLines.js';

const EVERY_MS = 600_000;
const AGAIN_MS = 10_000;
const NOW = new Date('2026-03-01T12:00:00.000Z');

let found: readonly UnaccountedObject[];
let looks: number;
let fault: Error | undefined;
let lines: ReturnType<typeof keptLog>['lines'];
let alarms: AlarmBook;
let stop: () => Promise<void>;

beforeEach(() => {
  jest.useFakeTimers();
  found = [];
  looks = 0;
  fault = undefined;
  const kept = keptLog();
  ({ lines } = kept);
  alarms = new AlarmBook(kept.log, () => NOW);
  const look = (): Promise<readonly UnaccountedObject[]> => {
    looks += 1;
    return fault === undefined ? Promise.resolve(found) : Promise.reject(fault);
  };
  stop = watchObjects({ look, everyMs: EVERY_MS, againMs: AGAIN_MS, alarms, log: kept.log });
});
afterEach(async () => {
  const stopped = stop();
  await jest.advanceTimersByTimeAsync(0);
  jest.useRealTimers();
  await stopped;
});

const spare = (name = 'spare'): UnaccountedObject => ({
  alarm: 'token-object-foreign',
  what: `secret key "${name}"`,
});
const pass = (ms: number): Promise<void> => jest.advanceTimersByTimeAsync(ms);
const told = (): readonly string[] => alarms.list().map(({ alarm, message }) => `${alarm}: ${message}`);

test('the token is looked through at once and then every so often', async () => {
  await pass(0);
  expect(looks).toBe(1);
  await pass(EVERY_MS - 1);
  expect(looks).toBe(1);
  await pass(1);
  expect(looks).toBe(2);
  expect(told()).toEqual([]);
});

test('what is found once is looked for again soon, and told when it is still there', async () => {
  await pass(1);
  found = [spare()];
  await pass(EVERY_MS);
  expect(told()).toEqual([]);
  await pass(AGAIN_MS);
  expect(told()).toEqual([
    'token-object-foreign: the token holds what nothing accounts for: secret key "spare"',
  ]);
  expect(looks).toBe(3);
  await pass(EVERY_MS);
  expect(looks).toBe(4);
  expect(alarms.list()).toMatchObject([{ times: 1 }]);
});

test('what has just ended, and what another daemon tries and destroys, is not told', async () => {
  await pass(1);
  for (const name of ['one', 'two', 'three']) {
    found = [spare(name)];
    await pass(name === 'one' ? EVERY_MS : AGAIN_MS);
  }
  found = [];
  await pass(AGAIN_MS);
  expect(told()).toEqual([]);
  expect(looks).toBe(5);
});

test('the alarm is over when the object is gone, and comes again with another', async () => {
  await pass(1);
  found = [spare()];
  await pass(EVERY_MS + AGAIN_MS);
  expect(alarms.list()).toHaveLength(1);
  found = [];
  await pass(EVERY_MS);
  expect(alarms.list()).toEqual([]);
  found = [{ alarm: 'token-object-twice', what: 'private key "grant:1"' }];
  await pass(EVERY_MS + AGAIN_MS);
  expect(told()).toEqual([
    'token-object-twice: the token holds more than one object of a name: private key "grant:1"',
  ]);
});

test('so many objects fill no line without end', async () => {
  await pass(1);
  found = Array.from({ length: 5000 }, (_, at) => spare(`${at}`));
  await pass(EVERY_MS + AGAIN_MS);
  expect(told()[0]).toMatch(/"1000", .*, and 4992 more$/);
  expect(told()[0]?.length).toBeLessThan(1024);
});

test('a token that is out is said once, looked at again, and ends no alarm', async () => {
  await pass(1);
  found = [spare()];
  await pass(EVERY_MS + AGAIN_MS);
  fault = new Error('the token is away');
  await pass(EVERY_MS + 3 * AGAIN_MS);
  expect(lines.filter(({ level }) => level === 'warn')).toHaveLength(1);
  expect(alarms.list()).toHaveLength(1);
  expect(looks).toBe(7);
});
