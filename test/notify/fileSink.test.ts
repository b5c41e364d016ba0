import { mkdtempSync, readFileSync, renameSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { FileSink } from '../../src/notify/fileSink.js';
import { everyKind, noticeOf, useOf } from './samples.js';

let directory: string;
let path: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'escrowd-notices-'));
  path = join(directory, 'notices.ndjson');
});
afterEach(() => {
  rmSync(directory, { recursive: true });
});

const sinkAt = (file: string): FileSink =>
  new FileSink({ path: file, kinds: everyKind, origin: 'escrow.test/log' });
const linesOf = (file: string): readonly unknown[] =>
  readFileSync(file, 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as unknown);

test('a batch is taken at once, a line for each, in a file that only its owner reads', async () => {
  expect(await sinkAt(path).deliver([noticeOf(), useOf('ntc_b')])).toEqual({ accepted: 2 });
  expect(linesOf(path)).toMatchObject([
    { id: noticeOf().id, kind: 'asked', origin: 'escrow.test/log' },
    { id: 'ntc_b', kind: 'used', uses: 1 },
  ]);
  expect(statSync(path).mode & 0o777).toBe(0o600);
});

test('what is there stays, and a file that was rotated is made anew', async () => {
  const sink = sinkAt(path);
  await sink.deliver([useOf('ntc_a')]);
  await sink.deliver([useOf('ntc_b')]);
  renameSync(path, `${path}.1`);
  await sink.deliver([useOf('ntc_c')]);
  expect(linesOf(`${path}.1`)).toMatchObject([{ id: 'ntc_a' }, { id: 'ntc_b' }]);
  expect(linesOf(path)).toMatchObject([{ id: 'ntc_c' }]);
});

test('half a line that a crash has left does not spoil the one after it', async () => {
  writeFileSync(path, '{"id":"ntc_to');
  await sinkAt(path).deliver([useOf('ntc_a')]);
  const [torn, whole] = readFileSync(path, 'utf8').split('\n');
  expect(torn).toBe('{"id":"ntc_to');
  expect(JSON.parse(whole ?? '')).toMatchObject({ id: 'ntc_a' });
});

test('a place that cannot be written is unavailable, and a link is not followed', async () => {
  const nowhere = await sinkAt(join(directory, 'no', 'such')).deliver([noticeOf()]);
  expect(nowhere).toMatchObject({ because: 'unavailable', fault: 'The file cannot be written (ENOENT).' });
  const target = join(directory, 'target');
  writeFileSync(target, '');
  symlinkSync(target, path);
  expect(await sinkAt(path).deliver([noticeOf()])).toMatchObject({ because: 'unavailable' });
  expect(readFileSync(target, 'utf8')).toBe('');
});
