import { Readable } from 'node:stream';

import { processTerminal } from '../../src/cli/terminal.js';

/** What is read of this as standard input, and how many pieces of it were asked for. */
async function readOf(
  pieces: readonly Buffer[] | 'endless',
  mostBytes?: number,
): Promise<[Buffer, Buffer[]]> {
  const given: Buffer[] = [];
  const next = function* (): Generator<Buffer> {
    for (let at = 0; pieces === 'endless' || at < pieces.length; at += 1) {
      const piece = pieces === 'endless' ? Buffer.alloc(1024, 'x') : (pieces[at] ?? Buffer.alloc(0));
      given.push(piece);
      yield piece;
    }
  };
  const stdin = Object.getOwnPropertyDescriptor(process, 'stdin');
  Object.defineProperty(process, 'stdin', {
    ...stdin,
    get: () => Readable.from(next(), { highWaterMark: 1 }),
  });
  try {
    return [await processTerminal().readInput(mostBytes), given];
  } finally {
    Object.defineProperty(process, 'stdin', stdin ?? {});
  }
}

test('standard input is read to its end', async () => {
  const [read] = await readOf([Buffer.from('one '), Buffer.from('two')]);
  expect(read.toString()).toBe('one two');
});

test('of an input that never ends no more is read than was asked for', async () => {
  const [read, given] = await readOf('endless', 1027);
  expect(read).toHaveLength(1027);
  expect(given.length).toBeLessThan(10);
});

test('and nothing of it stays behind', async () => {
  const [, given] = await readOf([Buffer.from('one '), Buffer.from('two')]);
  expect(given.every((piece) => piece.every((byte) => byte === 0))).toBe(true);
});
