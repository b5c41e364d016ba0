import { mkdtempSync, rmSync, unlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { FileMemory } from '../../../src/client/log/logMemory.js';
import { LogView } from '../../../src/client/log/logView.js';
import { parseCheckpoint } from '../../../src/log/note/checkpoint.js';
import { parseNote } from '../../../src/log/note/note.js';
import { FakeLog, ORIGIN } from '../fakeServer.js';

let directory: string;
let log: FakeLog;

beforeEach(() => {
  log = new FakeLog();
  directory = mkdtempSync(join(tmpdir(), 'escrowd-memory-'));
});
afterEach(() => {
  rmSync(directory, { recursive: true });
});

/** Twenty at once on a busy machine may wait for one another as long as a test may take. */
const memory = (): FileMemory => new FileMemory(directory, 'state.json', 200_000);
const viewOf = (of = log): LogView =>
  new LogView({
    origin: ORIGIN,
    logKey: of.key.vkey,
    memory: memory(),
    consistency: async (oldSize, newSize) =>
      (await of.consistency(oldSize, newSize)).map((hash) => Buffer.from(hash, 'base64')),
  });
const remembered = async (): Promise<number> =>
  parseCheckpoint(parseNote((await memory().last()) ?? '').text).size;

test('twenty clients at once: what is remembered never becomes less, and none is told of a log rolled back', async () => {
  log.fill(40);
  const notes = Array.from({ length: 20 }, (_, each) => log.checkpoint(21 + ((each * 7) % 20)));
  const views = notes.map(() => viewOf());
  const sizes: number[] = [];
  const state = { isOver: false };
  const watching = (async () => {
    while (!state.isOver) {
      if ((await memory().last()) !== undefined) sizes.push(await remembered());
      await new Promise((resolve) => setImmediate(resolve));
    }
  })();
  const believed = await Promise.all(views.map((view, each) => view.believe(notes[each] ?? '')));
  state.isOver = true;
  await watching;
  expect(believed.map(({ size }) => size).sort((a, b) => a - b)).toEqual(
    Array.from({ length: 20 }, (_, each) => 21 + each),
  );
  expect(sizes).toEqual([...sizes].sort((a, b) => a - b));
  expect(await remembered()).toBe(40);
});

test('what another client has remembered meanwhile is no less than what it was, and not written over', async () => {
  expect(await memory().remember('one', undefined)).toBe(true);
  expect(await memory().remember('two', undefined)).toBe(false);
  expect(await memory().remember('two', 'one')).toBe(true);
  expect(await memory().remember('three', 'one')).toBe(false);
  expect(await memory().last()).toBe('two');
});

test('of two clients at once, one that is shown another log finds it', async () => {
  log.fill(10);
  const fork = new FakeLog(log.key);
  fork.fill(12);
  fork.entries[3] = log.entries[4] ?? '';
  const [honest, deceived] = [viewOf(), viewOf(fork)];
  await honest.believe(log.checkpoint(10));
  await expect(deceived.believe(fork.checkpoint(9))).rejects.toMatchObject({ code: 'log-forked' });
});

test('an older log is rolled back, also one that was shown before', async () => {
  log.fill(10);
  const view = viewOf();
  await view.believe(log.checkpoint(10));
  await expect(view.believe(log.checkpoint(9))).rejects.toMatchObject({ code: 'log-rolled-back' });
  await expect(viewOf().believe(log.checkpoint(9))).rejects.toMatchObject({ code: 'log-rolled-back' });
});

test('a memory that was lost begins anew, and says so', async () => {
  log.fill(10);
  await viewOf().believe(log.checkpoint(9));
  const goesOn = viewOf();
  await goesOn.believe(log.checkpoint(10));
  expect(goesOn.isBeginning).toBe(false);
  unlinkSync(join(directory, 'state.json'));
  const anew = viewOf();
  await anew.believe(log.checkpoint(10));
  expect(anew.isBeginning).toBe(true);
});
