import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { readSecretLine } from '../../src/cli/secretFile.js';
import { readBounded } from '../../src/system/boundedFile.js';

/*
 * Private keys and passphrases are read from files: what was read is in what is given back, to be overwritten, and nowhere else.
 */
let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'bounded-'));
});
afterAll(() => {
  rmSync(directory, { recursive: true });
});

function fileOf(name: string, content: string | Buffer): string {
  const path = join(directory, name);
  writeFileSync(path, content, { mode: 0o600 });
  return path;
}

/** The buffers that are made while `work` runs, but for the pool that small ones come from. */
async function madeBy<T>(work: () => Promise<T>): Promise<readonly [T, readonly Buffer[]]> {
  const made: Buffer[] = [];
  const alloc = Buffer.alloc.bind(Buffer);
  const spy = jest.spyOn(Buffer, 'alloc').mockImplementation((...of) => {
    const buffer = alloc(...of);
    made.push(buffer);
    return buffer;
  });
  try {
    return [await work(), made];
  } finally {
    spy.mockRestore();
  }
}

const isZero = (buffer: Buffer): boolean => buffer.every((byte) => byte === 0);

test.each([
  ['a file of one piece', Buffer.alloc(3000, 'secret')],
  ['a file of several', Buffer.alloc(200_000, 'secret')],
])('of %s nothing stays behind', async (name, content) => {
  const [read, made] = await madeBy(() => readBounded(fileOf(name, content)));
  expect(read).toEqual(content);
  expect(made.length).toBeGreaterThan(1);
  expect(made.every(isZero)).toBe(true);
});

test('nor of one that is too long', async () => {
  const path = fileOf('long', Buffer.alloc(200_000, 'secret'));
  const [code, made] = await madeBy(() =>
    readBounded(path, 100_000).then(
      () => undefined,
      (error: unknown) => (error as { code?: string }).code,
    ),
  );
  expect(code).toBe('EFBIG');
  expect(made.length).toBeGreaterThan(1);
  expect(made.every(isZero)).toBe(true);
});

test('of a secret in a line, what is behind the line is overwritten', async () => {
  const behind = '\nanother of somebody else\n';
  const line = await readSecretLine(fileOf('line', `open sesame${behind}`));
  expect(line.toString()).toBe('open sesame');
  expect(isZero(Buffer.from(line.buffer, line.byteOffset + line.length, behind.length))).toBe(true);
});
