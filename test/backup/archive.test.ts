import { createHash } from 'node:crypto';
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { generateIdentity, identityToRecipient } from 'age-encryption';
import { pack } from 'tar-stream';

import { readArchive, writeArchive } from '../../src/backup/archive.js';
import { BackupError } from '../../src/backup/faults.js';
import type { Manifest } from '../../src/backup/manifest.js';
import { chance } from '../support/chance.js';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'escrowd-archive-'));
});
afterEach(() => {
  rmSync(directory, { recursive: true });
});

const FILES: readonly (readonly [string, Buffer])[] = [
  ['about.json', Buffer.from('{}')],
  ['token/0a-1b/token.object', chance('archive').bytes(300)],
  ['database/log_entry/00000001', chance('archive').bytes(4 * 1024 * 1024 + 1)],
  ['configuration/escrowd.yaml', Buffer.alloc(0)],
];
const hashOf = (content: Buffer): string => createHash('sha256').update(content).digest('hex');
const HASHED = FILES.map(([name, content]) => [name, hashOf(content)]);
const REST = { checkpoint: null, rows: { log_entry: 1 }, secrets: ['user.pin'] };

async function written(recipients: readonly string[] = []): Promise<string> {
  const path = join(directory, 'backup');
  await writeArchive(path, recipients, async (add) => {
    for (const [name, content] of FILES) await add(name, content);
    return REST;
  });
  return path;
}

async function read(
  path: string,
  identities: readonly string[] = [],
): Promise<{ files: unknown; manifest: Manifest }> {
  const files: (readonly [string, string])[] = [];
  const manifest = await readArchive(path, identities, (name, content) => {
    files.push([name, hashOf(content)]);
    return Promise.resolve();
  });
  return { files, manifest };
}

test('what was put in comes out, in its order, and is its owner’s alone', async () => {
  const path = await written();
  const { files, manifest } = await read(path);
  expect(files).toEqual(HASHED);
  expect(manifest).toMatchObject(REST);
  expect(manifest.files.map(({ path: name, bytes }) => [name, bytes])).toEqual(
    FILES.map(([name, content]) => [name, content.length]),
  );
  expect(statSync(path).mode & 0o777).toBe(0o600);
});

test('one that is encrypted is read with the identity of a recipient alone, and holds nothing in the clear', async () => {
  const [ours, theirs, others] = await Promise.all([
    generateIdentity(),
    generateIdentity(),
    generateIdentity(),
  ]);
  const path = await written(await Promise.all([ours, theirs].map(identityToRecipient)));
  for (const identity of [ours, theirs]) expect((await read(path, [others, identity])).files).toEqual(HASHED);
  await expect(read(path)).rejects.toThrow(/is encrypted: name the file with the age identity/);
  await expect(read(path, [others])).rejects.toThrow(/cannot be decrypted with this identity/);
  const bytes = readFileSync(path);
  for (const [name] of FILES) expect(bytes.includes(name)).toBe(false);
});

test('nothing is written over, and of a backup that fails nothing is left', async () => {
  const path = await written();
  const before = readFileSync(path);
  await expect(written()).rejects.toThrow(/is there already/);
  expect(readFileSync(path).equals(before)).toBe(true);
  rmSync(path);
  const cause = new Error('the database went away');
  await expect(
    writeArchive(path, [], async (add) => {
      await add('about.json', Buffer.from('{}'));
      throw cause;
    }),
  ).rejects.toBe(cause);
  await expect(written(['age1notarecipient'])).rejects.toThrow(/is no age recipient/);
  expect(readdirSync(directory)).toEqual([]);
});

test('where it cannot be written, that is said', async () => {
  await expect(
    writeArchive(join(directory, 'missing', 'backup'), [], () => Promise.resolve(REST)),
  ).rejects.toThrow(/backup cannot be written: ENOENT/);
});

/** Bytes of an archive with these entries. */
async function archiveOf(
  entries: readonly (readonly [Parameters<ReturnType<typeof pack>['entry']>[0], Buffer])[],
): Promise<Buffer> {
  const archive = pack();
  for (const [header, content] of entries) archive.entry(header, content);
  archive.finalize();
  const chunks: Buffer[] = [];
  for await (const chunk of archive as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks);
}

const manifestOf = (files: Manifest['files']): Buffer => Buffer.from(JSON.stringify({ ...REST, files }));
const EMPTY = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';
const about = { path: 'about.json', bytes: 0, sha256: EMPTY };

/** What is made of a whole backup, and what is said of it. */
const DAMAGES: readonly (readonly [string, (whole: Buffer) => Buffer | Promise<Buffer>, RegExp])[] = [
  ['one that is empty', () => Buffer.alloc(0), /cut short: it has no manifest/],
  ['one that is no archive', () => Buffer.alloc(4096, 'x'), /cannot be read as a backup/],
  ['one that ends in a file', (whole) => whole.subarray(0, 3000), /cut short|cannot be read as a backup/],
  [
    'one that ends before its manifest',
    (whole) => whole.subarray(0, whole.indexOf('manifest.json')),
    /cut short/,
  ],
  ...FILES.slice(0, 3).map(
    ([name]) =>
      [
        `a changed byte in ${name}`,
        (whole: Buffer) => changed(whole, whole.indexOf(name) + 512),
        /is damaged/,
      ] as const,
  ),
  ['a changed name', (whole) => changed(whole, whole.indexOf('token.object')), /cannot be read as a backup/],
  [
    'a hash in the manifest that is another',
    (whole) => changedHash(whole),
    /is damaged: about.json is not what/,
  ],
  [
    'a file that the manifest does not know',
    () =>
      archiveOf([
        [{ name: 'about.json' }, Buffer.alloc(0)],
        [{ name: 'manifest.json' }, manifestOf([])],
      ]),
    /does not know about.json/,
  ],
  [
    'a file that is missing',
    () => archiveOf([[{ name: 'manifest.json' }, manifestOf([about])]]),
    /about.json is not what/,
  ],
  [
    'a file behind the manifest',
    () =>
      archiveOf([
        [{ name: 'manifest.json' }, manifestOf([])],
        [{ name: 'about.json' }, Buffer.alloc(0)],
      ]),
    /goes on behind its manifest/,
  ],
  [
    'a path that leads out of it',
    () => archiveOf([[{ name: 'token/../../evil' }, Buffer.alloc(0)]]),
    /which is of no backup/,
  ],
  [
    'an absolute path',
    () => archiveOf([[{ name: '/etc/passwd' }, Buffer.alloc(0)]]),
    /which is of no backup/,
  ],
  [
    'a hidden file',
    () => archiveOf([[{ name: 'configuration/.profile' }, Buffer.alloc(0)]]),
    /which is of no backup/,
  ],
  [
    'a link',
    () => archiveOf([[{ name: 'token/a/b', type: 'symlink', linkname: '/etc/passwd' }, Buffer.alloc(0)]]),
    /which is of no backup/,
  ],
  [
    'a manifest that is no JSON',
    () => archiveOf([[{ name: 'manifest.json' }, Buffer.from('{')]]),
    /manifest.json in the backup is not JSON/,
  ],
  [
    'a manifest of something else',
    () => archiveOf([[{ name: 'manifest.json' }, Buffer.from('{}')]]),
    /not one that this version understands/,
  ],
];

test.each(DAMAGES)('%s is refused', async (_what, damage, said) => {
  const path = await written();
  const bytes = await damage(readFileSync(path));
  writeFileSync(path, bytes);
  const reading = read(path);
  await expect(reading).rejects.toThrow(said);
  await expect(reading).rejects.toBeInstanceOf(BackupError);
});

test('a changed byte anywhere in one that is encrypted is refused', async () => {
  const identity = await generateIdentity();
  const path = await written([await identityToRecipient(identity)]);
  const whole = readFileSync(path);
  const draw = chance('encrypted archive');
  for (let round = 0; round < 12; round += 1) {
    writeFileSync(path, changed(whole, draw.below(whole.length)));
    await expect(read(path, [identity])).rejects.toBeInstanceOf(BackupError);
  }
  writeFileSync(path, whole.subarray(0, whole.length - 1));
  await expect(read(path, [identity])).rejects.toBeInstanceOf(BackupError);
});

test('one that cannot be read is named', async () => {
  await expect(read(join(directory, 'missing'))).rejects.toThrow(/missing cannot be read/);
  chmodSync(directory, 0o700);
  await expect(read(directory)).rejects.toThrow(/cannot be read/);
});

test('a fault of who takes the files is theirs', async () => {
  const path = await written();
  const fault = new Error('no room');
  await expect(readArchive(path, [], () => Promise.reject(fault))).rejects.toBe(fault);
});

function changed(whole: Buffer, at: number): Buffer {
  const copy = Buffer.from(whole);
  copy[at] = (copy[at] ?? 0) ^ 1;
  return copy;
}

/** The first hash in the manifest with another digit: the archive’s own checksums do not cover it. */
function changedHash(whole: Buffer): Buffer {
  const at = whole.indexOf('"sha256": "') + '"sha256": "'.length;
  const copy = Buffer.from(whole);
  copy.write(whole[at] === 0x30 ? '1' : '0', at);
  return copy;
}
