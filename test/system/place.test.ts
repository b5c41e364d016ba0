import { chmodSync, existsSync, mkdtempSync, rmSync, statfsSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { fileReason } from '../../src/system/errors.js';
import { cautionsOf, type FileSystem, makeDirectories, placeOf } from '../../src/system/place.js';

let top: string;
beforeEach(() => {
  top = mkdtempSync(join(tmpdir(), 'escrowd-place-'));
});
afterEach(() => {
  chmodSync(top, 0o700);
  rmSync(top, { recursive: true });
});

const DISK: FileSystem = { type: 0xef53, bsize: 4096, bavail: 1000, files: 1000, ffree: 1000 };
const onDisk = (path: string): FileSystem => (/^\/(proc|sys|dev)/.test(path) ? statfsSync(path) : DISK);

test.each([
  ['a directory that is there', () => top, undefined],
  ['one that is to be made, with others', () => join(top, 'a', 'b', 'c'), undefined],
  ['one behind a link', () => linkTo(top), undefined],
  ['a file', () => fileAt('file'), /file is not a directory; name another/],
  ['one below a file', () => join(fileAt('file'), 'a', 'b'), /file is not a directory/],
  ['a link that leads nowhere', () => linkTo(join(top, 'none')), /link is a link that leads nowhere/],
  ['one below such a link', () => join(linkTo(join(top, 'none')), 'a'), /link is a link that leads nowhere/],
  ['a link to itself', () => linkTo(join(top, 'link')), /link is a link that leads round/],
  ['one in /proc', () => '/proc/escrowd/a', /^\/proc is of a file system that keeps no files \(proc\)/],
  ['one in /sys', () => '/sys/escrowd', /\(sysfs\)/],
  ['a terminal', () => '/dev/pts/escrowd', /\(devpts\)/],
  ['one with too long a name', () => join(top, 'a'.repeat(300)), /longer name than the system allows/],
])('of %s is told whether files can be kept there', (_what, path, why) => {
  const looked = (): string => {
    try {
      placeOf(path(), onDisk);
      return '';
    } catch (error) {
      const { message, remedy } = error as Error & { readonly remedy: string };
      return `${message}; ${remedy}`;
    }
  };
  if (why === undefined) expect(looked()).toBe('');
  else expect(looked()).toMatch(why);
});

test('one that this user may not write is told, by whom it is not hidden', () => {
  chmodSync(top, 0o500);
  const look = (): unknown => placeOf(join(top, 'a'), onDisk);
  // root may
  if (process.getuid?.() === 0) expect(look()).toBeDefined();
  else expect(look).toThrow(/cannot be written by the user of this program/);
});

test.each([
  ['on a disk', {}, 4_096_000, []],
  ['with little room', { bavail: 1 }, 4096, [/room for 0 MiB/]],
  ['with no room for another name', { ffree: 0 }, 0, [/room for 0 MiB/]],
  ['of a file system that does not count names', { files: 0, ffree: 0 }, 4_096_000, []],
  ['in memory', { type: 0x01021994 }, 4_096_000, [/in memory \(tmpfs\)/]],
])('a place %s has so much room, and these cautions', (_what, differing, freeBytes, said) => {
  const place = placeOf(top, () => ({ ...DISK, ...differing }));
  expect(place.freeBytes).toBe(freeBytes);
  expect(cautionsOf(place, 8192).map(({ what }) => what)).toEqual(
    said.map((each) => expect.stringMatching(each) as string),
  );
});

test('directories are made with those above them, and where the kernel makes none that is said and not waited for', async () => {
  const made = join(top, 'a', 'b');
  expect(await makeDirectories(made, 0o700)).toBe(join(top, 'a'));
  expect(existsSync(made)).toBe(true);
  expect(await makeDirectories(made, 0o700)).toBeUndefined();
  for (const path of ['/proc/escrowd', '/proc/self/a/b', '/sys/escrowd']) {
    const refused = await makeDirectories(path, 0o700).catch((error: unknown) => error);
    expect(refused).toMatchObject({ code: 'ENOTSUP', path });
    expect(fileReason(refused)).toBe('no files are kept there');
  }
});

function fileAt(name: string): string {
  writeFileSync(join(top, name), '');
  return join(top, name);
}

function linkTo(target: string): string {
  const link = join(top, 'link');
  symlinkSync(target, link);
  return link;
}
