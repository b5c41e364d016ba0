import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { releaseOf } from '../../src/daemon/release.js';

let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'escrowd-release-'));
  put('package.json', '{"version":"1.2.3"}');
  for (const folder of ['escrow/deep', 'log', 'http'])
    mkdirSync(join(directory, 'src', folder), { recursive: true });
  put('src/escrow/one.js', 'one');
  put('src/escrow/deep/two.js', 'two');
  put('src/log/three.js', 'three');
  put('src/http/four.js', 'four');
});
afterEach(() => {
  rmSync(directory, { recursive: true });
});

function put(file: string, content: string): void {
  writeFileSync(join(directory, file), content);
}

const release = (at = directory): string => releaseOf(at, join(at, 'src'));

test('a release is a version and a digest, the same for the same program wherever it stands', () => {
  expect(release()).toMatch(/^1\.2\.3\+[0-9a-f]{32}$/);
  const copy = `${directory}-copy`;
  cpSync(directory, copy, { recursive: true });
  try {
    expect(release(copy)).toBe(release());
  } finally {
    rmSync(copy, { recursive: true });
  }
});

test.each([
  ['another version', 'package.json', '{"version":"1.2.4"}'],
  ['other code of the core', 'src/escrow/one.js', 'One'],
  ['other code deep in it', 'src/escrow/deep/two.js', 'tw'],
  ['other code of the log', 'src/log/three.js', ''],
  ['one more file', 'src/log/five.js', ''],
])('with %s it is another release', (_what, file, content) => {
  const before = release();
  put(file, content);
  expect(release()).not.toBe(before);
});

test('what moves from one file to the next makes another release', () => {
  put('src/escrow/one.js', 'onet');
  put('src/escrow/deep/two.js', 'wo');
  const before = release();
  put('src/escrow/one.js', 'one');
  put('src/escrow/deep/two.js', 'two');
  expect(release()).not.toBe(before);
});

test('code that makes no state is none of it', () => {
  const before = release();
  put('src/http/four.js', 'other');
  expect(release()).toBe(before);
});
