import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { Readable } from 'node:stream';

import { Decrypter, Encrypter } from 'age-encryption';
import { extract, pack } from 'tar-stream';

import { messageOf } from '../system/errors.js';
import { exists, writeWhole } from '../system/files.js';
import { BackupError } from './faults.js';
import type { Manifest } from './manifest.js';
import { parseManifest } from './manifest.js';

/** Puts a file into the archive. */
export type AddFile = (path: string, content: Uint8Array) => Promise<void>;

const MANIFEST = 'manifest.json';
const AGE_HEADER = 'age-encryption.org/v1';
/** No file of a backup is longer: tables are in it in pieces. */
const LONGEST_READ = 64 * 1024 * 1024;
const PATH = /^(about\.json|(database|token|configuration)(\/[A-Za-z0-9_-][A-Za-z0-9_.-]*)+)$/;

/**
 * Writes a backup: a tar archive (POSIX.1-2001), readable by its owner alone, encrypted as age-encryption.org/v1 to `recipients`
 * where there are any. `fill` adds the files and returns what stands in the manifest beside their hashes. There is no file, or a
 * whole one.
 *
 * @throws BackupError when there is something at `path`, a recipient is none, or it cannot be written; what `fill` throws.
 */
export async function writeArchive(
  path: string,
  recipients: readonly string[],
  fill: (add: AddFile) => Promise<Omit<Manifest, 'files'>>,
): Promise<Manifest> {
  if (await exists(path)) throw new BackupError(`${path} is there already: it is not written over`);
  const encrypter = encrypterTo(recipients);
  const archive = pack();
  const files: Manifest['files'] = [];
  const put = (name: string, content: Uint8Array): Promise<void> =>
    new Promise((resolve, reject) => {
      const entry = archive.entry({ name, size: content.length, mode: 0o600 }, (error) => {
        if (error) reject(error instanceof Error ? error : new Error(String(error)));
        else resolve();
      });
      entry.end(Buffer.from(content));
    });
  const filled = async (): Promise<Manifest> => {
    try {
      const rest = await fill(async (name, content) => {
        if (!PATH.test(name)) throw new BackupError(`a file of a backup cannot be called ${name}`);
        files.push({ path: name, bytes: content.length, sha256: sha256(content) });
        await put(name, content);
      });
      const manifest = { ...rest, files };
      await put(MANIFEST, Buffer.from(`${JSON.stringify(manifest, null, 2)}\n`));
      archive.finalize();
      return manifest;
    } catch (error) {
      archive.destroy(error instanceof Error ? error : new Error(String(error)));
      throw error;
    }
  };
  let fault: unknown;
  try {
    return await writeWhole(path, 0o600, async (file) => {
      const bytes = encrypter === undefined ? archive : await encrypted(encrypter, archive);
      const write = async (): Promise<void> => {
        for await (const chunk of bytes as AsyncIterable<Buffer>) await file.appendFile(chunk);
      };
      const [made, written] = await Promise.allSettled([filled(), write()]);
      if (made.status === 'rejected') {
        fault = made.reason;
        throw fault;
      }
      if (written.status === 'rejected') throw written.reason;
      return made.value;
    });
  } catch (error) {
    if (error === fault) throw error;
    throw new BackupError(`${path} cannot be written: ${messageOf(error)}`, { cause: error });
  }
}

/**
 * Reads a backup and hands over each file in its order. What was handed over is of an undamaged backup only when this resolves,
 * with the manifest: nothing may be built on it before.
 *
 * @param identities for one that is encrypted: age identities (`AGE-SECRET-KEY-1...`)
 * @throws BackupError when it cannot be read or decrypted, is cut short, or holds anything but what its manifest says; what `take`
 *   throws.
 */
export async function readArchive(
  path: string,
  identities: readonly string[],
  take: (name: string, content: Buffer) => Promise<void>,
): Promise<Manifest> {
  const files: Manifest['files'] = [];
  let manifest: Manifest | undefined;
  const archive = extract();
  const reading = pumped(await bytesOf(path, identities), archive);
  try {
    for await (const entry of archive) {
      const { name, type } = entry.header;
      if (manifest !== undefined) throw new BackupError(`${path} goes on behind its manifest`);
      const content = await contentOf(entry, name);
      if (name === MANIFEST) {
        manifest = parseManifest(content);
        continue;
      }
      if (type !== 'file' || !PATH.test(name))
        throw new BackupError(`${path} holds ${name}, which is of no backup`);
      files.push({ path: name, bytes: content.length, sha256: sha256(content) });
      await take(name, content);
    }
    await reading;
  } catch (error) {
    archive.destroy();
    await reading.catch(() => undefined);
    if (error instanceof BackupError || !isOfReading(error)) throw error;
    throw new BackupError(`${path} cannot be read as a backup: ${messageOf(error)}`, { cause: error });
  }
  if (manifest === undefined) throw new BackupError(`${path} is cut short: it has no manifest`);
  requireSame(path, manifest.files, files);
  return manifest;
}

function requireSame(path: string, said: Manifest['files'], found: Manifest['files']): void {
  for (const [at, { path: name, bytes, sha256: hash }] of said.entries()) {
    const one = found[at];
    if (one?.path === name && one.bytes === bytes && one.sha256 === hash) continue;
    throw new BackupError(`${path} is damaged: ${name} is not what its manifest says`);
  }
  const more = found[said.length];
  if (more !== undefined)
    throw new BackupError(`${path} is damaged: its manifest does not know ${more.path}`);
}

async function bytesOf(path: string, identities: readonly string[]): Promise<Readable> {
  let isEncrypted: boolean;
  try {
    const file = await open(path);
    try {
      const head = Buffer.alloc(AGE_HEADER.length);
      await file.read(head, 0, head.length, 0);
      isEncrypted = head.toString('latin1') === AGE_HEADER;
    } finally {
      await file.close();
    }
  } catch (cause) {
    throw new BackupError(`${path} cannot be read: ${messageOf(cause)}`, { cause });
  }
  const bytes = createReadStream(path);
  if (!isEncrypted) return bytes;
  if (identities.length === 0)
    throw new BackupError(`${path} is encrypted: name the file with the age identity (--identity FILE)`);
  const decrypter = new Decrypter();
  try {
    for (const identity of identities) decrypter.addIdentity(identity);
    return fromWeb(await decrypter.decrypt(toWeb(bytes)));
  } catch (cause) {
    bytes.destroy();
    throw new BackupError(`${path} cannot be decrypted with this identity: ${messageOf(cause)}`, { cause });
  }
}

function encrypterTo(recipients: readonly string[]): Encrypter | undefined {
  if (recipients.length === 0) return undefined;
  const encrypter = new Encrypter();
  for (const recipient of recipients) {
    try {
      encrypter.addRecipient(recipient);
    } catch (cause) {
      throw new BackupError(`"${recipient}" is no age recipient (age1...)`, { cause });
    }
  }
  return encrypter;
}

async function encrypted(encrypter: Encrypter, bytes: AsyncIterable<unknown>): Promise<Readable> {
  return fromWeb(await encrypter.encrypt(toWeb(Readable.from(bytes, { objectMode: false }))));
}

function toWeb(bytes: Readable): ReadableStream<Uint8Array> {
  return Readable.toWeb(bytes) as ReadableStream<Uint8Array>;
}

function fromWeb(bytes: ReadableStream<Uint8Array>): Readable {
  return Readable.fromWeb(bytes as Parameters<typeof Readable.fromWeb>[0]);
}

/** Resolves when all bytes went into the archive's reader. */
async function pumped(bytes: Readable, into: ReturnType<typeof extract>): Promise<void> {
  try {
    for await (const chunk of bytes) {
      if (into.destroyed) return;
      if (into.write(chunk)) continue;
      await new Promise<void>((resolve) => {
        const goOn = (): void => {
          into.off('drain', goOn).off('close', goOn);
          resolve();
        };
        into.on('drain', goOn).on('close', goOn);
      });
    }
    into.end(null);
  } catch (error) {
    into.destroy(error instanceof Error ? error : new Error(String(error)));
    throw error;
  } finally {
    bytes.destroy();
  }
}

async function contentOf(entry: AsyncIterable<unknown>, name: string): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of entry as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > LONGEST_READ) throw new BackupError(`${name} in the backup is longer than any file of one`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** What the readers of tar and age say of bytes that are none; everything else is the caller's. */
function isOfReading(error: unknown): boolean {
  const stack = error instanceof Error ? (error.stack ?? '') : '';
  return /node_modules\/(tar-stream|streamx|age-encryption|@noble)\//.test(stack);
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
