import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { DatabaseRefused } from '../../src/postgres/faults.js';
import { withPassword } from '../../src/postgres/passwordFile.js';

let directory: string;
let file: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'escrowd-pgpass-'));
  file = join(directory, 'pgpass');
  writeFileSync(
    file,
    [
      '# a comment',
      'db.test:5432:escrow:owner:of the owner',
      '/run/postgresql:*:escrow:daemon:by the socket',
      '*:6432:*:daemon:by the port',
      String.raw`db\:test:*:*:a\\b:x\:y/z@\\:and more`,
      'half:5432:line',
      '*:*:escrow:daemon:of anywhere',
      '*:*:escrow:daemon:too late',
    ].join('\r\n'),
    { mode: 0o600 },
  );
});
afterAll(() => {
  rmSync(directory, { recursive: true });
});

test.each([
  ['postgresql://owner@db.test/escrow', 'postgresql://owner:of%20the%20owner@db.test/escrow'],
  ['postgresql://owner@db.test:5433/escrow', 'postgresql://owner@db.test:5433/escrow'],
  ['postgres://daemon@db.test:6432/other?x=1', 'postgres://daemon:by%20the%20port@db.test:6432/other?x=1'],
  ['postgresql://daemon@db.test/escrow', 'postgresql://daemon:of%20anywhere@db.test/escrow'],
  [
    'postgresql://daemon@/escrow?host=/run/postgresql',
    'postgresql://daemon:by%20the%20socket@/escrow?host=/run/postgresql',
  ],
  ['postgresql://daemon:given@db.test/escrow', 'postgresql://daemon:given@db.test/escrow'],
  ['postgresql://nobody@db.test/escrow', 'postgresql://nobody@db.test/escrow'],
  [String.raw`postgresql://a%5Cb@/x?host=db:test`, 'postgresql://a%5Cb:x%3Ay%2Fz%40%5C@/x?host=db:test'],
])('%s becomes %s', (url, expected) => {
  expect(withPassword(url, file)).toBe(expected);
});

test('without a file nothing is looked up; one that others can read, or that is not there, is refused', () => {
  const url = 'postgresql://owner@db.test/escrow';
  expect(withPassword(url, undefined)).toBe(url);
  expect(() => withPassword(url, join(directory, 'none'))).toThrow(DatabaseRefused);
  expect(() => withPassword(url, join(directory, 'none'))).toThrow(/none \(PGPASSFILE\) cannot be read/);
  chmodSync(file, 0o640);
  expect(() => withPassword(url, file)).toThrow(/chmod 600/);
  chmodSync(file, 0o600);
});
