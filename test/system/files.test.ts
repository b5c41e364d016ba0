import {
  lstatSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { createOnce, exists, replaceFile, writeNewFile, writeWhole } from '../../src/system/files.js';

let directory: string;
let path: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'escrowd-files-'));
  path = join(directory, 'file');
});
afterEach(() => {
  rmSync(directory, { recursive: true });
});

test('a file that cannot be written to its end leaves the one that was there, and nothing beside it', async () => {
  writeFileSync(path, 'old');
  const written = writeWhole(path, 0o600, async (file) => {
    await file.writeFile('half');
    throw new Error('no more');
  });
  await expect(written).rejects.toThrow('no more');
  expect(readFileSync(path, 'utf8')).toBe('old');
  expect(readdirSync(directory)).toEqual(['file']);
  await replaceFile(path, 'new', 0o600);
  expect(readFileSync(path, 'utf8')).toBe('new');
  expect(readdirSync(directory)).toEqual(['file']);
});

test('a link is replaced, and what it leads to is left alone', async () => {
  const other = join(directory, 'other');
  writeFileSync(other, 'left');
  symlinkSync(other, path);
  await replaceFile(path, 'new', 0o600);
  expect(lstatSync(path).isFile()).toBe(true);
  expect(statSync(path).mode & 0o777).toBe(0o600);
  expect(readFileSync(other, 'utf8')).toBe('left');
});

test('of several that create one file, one does, and all leave it whole', async () => {
  const contents = Array.from({ length: 20 }, (_, index) => `${index}\n`.repeat(1000));
  await Promise.all(contents.map((content) => createOnce(path, content, 0o600)));
  expect(contents).toContain(readFileSync(path, 'utf8'));
  expect(readdirSync(directory)).toEqual(['file']);
});

test('a new file is never one that is there', async () => {
  expect(await exists(path)).toBe(false);
  await writeNewFile(path, 'mine', 0o600);
  expect(await exists(path)).toBe(true);
  await expect(writeNewFile(path, 'other', 0o600)).rejects.toMatchObject({ code: 'EEXIST' });
  expect(readFileSync(path, 'utf8')).toBe('mine');
});
