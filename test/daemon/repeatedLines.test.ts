import { RepeatedLines } from '../../src/daemon/repeatedLines.js';
import { keptLog } from '../support/operatorLines.js';

const MINUTE = 60_000;
const { log, lines } = keptLog();
let repeated: RepeatedLines;

beforeEach(() => {
  jest.useFakeTimers();
  lines.length = 0;
  repeated = new RepeatedLines(log);
});
afterEach(() => {
  repeated.end();
  jest.useRealTimers();
});

/** Ids differ in their letters as well. */
const idOf = (at: number): string => `request-${'ghijk'.charAt(at % 5)}-${at}`;

/** The lines since it was last asked, but for what is the same in all. */
const told = (): readonly object[] =>
  lines.splice(0).map(({ level, message, ...facts }) => ({ [`${String(level)} ${String(message)}`]: facts }));

test('the same is told at once, and then with how often it was, each minute, as long as it goes on', async () => {
  for (let at = 0; at < 500; at += 1)
    repeated.tell('error', 'a request failed', { requestId: idOf(at), reason: `after ${at} ms` });
  expect(told()).toEqual([{ 'error a request failed': { requestId: idOf(0), reason: 'after 0 ms' } }]);
  await jest.advanceTimersByTimeAsync(MINUTE);
  const newest = { requestId: idOf(499), reason: 'after 499 ms' };
  expect(told()).toEqual([{ 'error a request failed': { ...newest, again: 499 } }]);
  repeated.tell('error', 'a request failed', { ...newest, reason: 'after 3 ms' });
  await jest.advanceTimersByTimeAsync(MINUTE);
  expect(told()).toEqual([{ 'error a request failed': { ...newest, reason: 'after 3 ms', again: 1 } }]);
  await jest.advanceTimersByTimeAsync(MINUTE);
  expect(told()).toEqual([]);
  repeated.tell('error', 'a request failed', newest);
  expect(told()).toEqual([{ 'error a request failed': newest }]);
});

test('what is another reason, level, message or person is told beside it', () => {
  repeated.tell('error', 'a request failed', { reason: 'no database' });
  repeated.tell('error', 'a request failed', { reason: 'no token' });
  repeated.tell('warn', 'a request failed', { reason: 'no token' });
  repeated.tell('warn', 'somebody is not told by mail', { person: 'olga' });
  repeated.tell('warn', 'somebody is not told by mail', { person: 'oscar' });
  expect(told()).toHaveLength(5);
});

test('lines that are all different are a hundred a minute, and one with how many more', async () => {
  for (let at = 0; at < 5_000; at += 1) {
    const word = String(at).replace(/[0-9]/g, (digit) => 'ghijklmnop'[Number(digit)] ?? '');
    repeated.tell('error', 'a request failed', { reason: word });
  }
  expect(told()).toHaveLength(101);
  await jest.advanceTimersByTimeAsync(MINUTE);
  expect(told()).toEqual([{ 'error a request failed': { reason: 'kppp', again: 4_899 } }]);
});

test('what is left at the end is told then, and nothing after it', async () => {
  repeated.tell('warn', 'a notice could not be delivered', { sink: 'smtp', attempts: 1 });
  repeated.tell('warn', 'a notice could not be delivered', { sink: 'smtp', attempts: 2 });
  repeated.end();
  await jest.advanceTimersByTimeAsync(2 * MINUTE);
  expect(told()).toEqual([
    { 'warn a notice could not be delivered': { sink: 'smtp', attempts: 1 } },
    { 'warn a notice could not be delivered': { sink: 'smtp', attempts: 2, again: 1 } },
  ]);
});
