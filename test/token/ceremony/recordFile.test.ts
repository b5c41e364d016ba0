import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import type { CeremonyRecord } from '../../../src/token/ceremony/record.js';
import { recording, requireRecordPlace } from '../../../src/token/ceremony/recordFile.js';

let directory: string;
let file: string;
let printed: string[];
beforeEach(() => {
  directory = join(mkdtempSync(join(tmpdir(), 'escrowd-record-')), 'ceremony');
  mkdirSync(directory);
  file = join(directory, 'record.json');
  printed = [];
});
afterEach(() => {
  rmSync(join(directory, '..'), { recursive: true });
});

const print = (text: string): void => void printed.push(text);
const recordOf = (events: number): CeremonyRecord =>
  ({ events: Array.from({ length: events }, () => ({ at: 'now', what: 'something' })) }) as never;

test.each([
  ['a first one', undefined, 1],
  ['one in the place of another', '{}', 1],
  ['one that is longer than what was reserved', undefined, 8_000],
])('%s is written whole, and nothing else is left', async (_what, before, events) => {
  if (before !== undefined) writeFileSync(file, before);
  const record = recordOf(events);
  // while the token is worked at, the one before is there, and room for the next
  const work = (): Promise<CeremonyRecord> => {
    expect(existsSync(file)).toBe(before !== undefined);
    expect(readdirSync(directory).filter((name) => name.endsWith('.new'))).toHaveLength(1);
    return Promise.resolve(record);
  };
  expect(await recording(file, print, work)).toBe(record);
  expect(JSON.parse(readFileSync(file, 'utf8'))).toEqual(record);
  expect([readdirSync(directory), printed]).toEqual([['record.json'], []]);
});

test('where nothing can be written, nothing is done to the token', async () => {
  const work = jest.fn(() => Promise.resolve(recordOf(1)));
  rmSync(directory, { recursive: true });
  await expect(recording(file, print, work)).rejects.toThrow(/cannot be written: .* Nothing was done/);
  expect(work).not.toHaveBeenCalled();
  writeFileSync(directory, 'a file');
  expect(() => {
    requireRecordPlace(file);
  }).toThrow(/ceremony is not a directory; name another/);
  rmSync(directory);
  mkdirSync(directory);
  requireRecordPlace(file);
});

test('what fails in the token leaves the record as it was, and no draft', async () => {
  writeFileSync(file, '{}');
  await expect(recording(file, print, () => Promise.reject(new Error('a token')))).rejects.toThrow('a token');
  expect([readdirSync(directory), readFileSync(file, 'utf8'), printed]).toEqual([['record.json'], '{}', []]);
});

test('a record that cannot be written once the token was changed is printed, and that is said', async () => {
  const record = recordOf(2);
  const work = (): Promise<CeremonyRecord> => {
    rmSync(directory, { recursive: true });
    return Promise.resolve(record);
  };
  await expect(recording(file, print, work)).rejects.toThrow(/token was changed, .* was printed/);
  expect(printed.map((text) => JSON.parse(text) as unknown)).toEqual([record]);
});
