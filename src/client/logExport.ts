import { randomBytes } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';

import type { Json } from '../log/canonical.js';
import { decodeEntry, EntryError } from '../log/entry.js';
import { checkpointLine, documentHash, documentLine, headerLine } from '../log/export.js';
import { policyAct, policyHashFact } from '../log/verifier.js';
import { syncDirectory } from './atomicFile.js';
import { NotBelieved } from './errors.js';
import type { EscrowClient } from './escrowClient.js';
import type { LogView } from './logView.js';

/** How many entries are asked for at once. */
const PAGE = 200;

/** An export of the log to a file. */
export interface LogExport {
  readonly client: Pick<EscrowClient, 'checkpoint' | 'entries' | 'documents'>;
  readonly log: LogView;
  readonly origin: string;
  readonly logKey: string;
  readonly path: string;
  /** Told as entries arrive. */
  readonly onProgress?: (done: number, total: number) => void;
}

/**
 * Writes the log up to its newest checkpoint, in the format that the verifier reads, page by page. The file appears
 * whole, or not at all; one that stands there is replaced. The checkpoint must continue what was seen before; the
 * entries are for the verifier to judge.
 *
 * @throws NotBelieved, ServerProblem, ServerUnreachable
 */
export async function exportLog(
  order: LogExport,
): Promise<{ readonly size: number; readonly checkpoint: string }> {
  const note = await order.client.checkpoint();
  const { size } = await order.log.believe(note);
  const entriesPath = temporaryBeside(order.path);
  const wholePath = temporaryBeside(order.path);
  try {
    // the documents stand before the entries, and which of them belong there only the entries tell
    const applied = await withFile(entriesPath, (file) => writeEntries(file, order, size));
    await withFile(wholePath, async (file) => {
      await file.write(`${headerLine(order)}\n`);
      for (const document of await documentsOf(order, applied))
        await file.write(`${documentLine(document)}\n`);
      await copyInto(file, entriesPath);
      await file.write(`${checkpointLine(note)}\n`);
      await file.sync();
    });
    await rename(wholePath, order.path);
    await syncDirectory(dirname(order.path));
    return { size, checkpoint: note };
  } finally {
    await rm(entriesPath, { force: true });
    await rm(wholePath, { force: true });
  }
}

/** Writes the entries, and returns the hashes of the documents that they put in force. */
async function writeEntries(file: FileHandle, order: LogExport, size: number): Promise<ReadonlySet<string>> {
  const applied = new Set<string>();
  for (let next = 0; next < size;) {
    const page = await order.client.entries(next, Math.min(PAGE, size - next));
    if (page.length === 0) {
      throw new NotBelieved(
        'export-refused',
        `the checkpoint has ${size} entries, the server shows only ${next}`,
      );
    }
    const lines: string[] = [];
    for (const { index, entry } of page.slice(0, size - next)) {
      if (index !== next)
        throw new NotBelieved('export-refused', `entry ${next} is missing from the log shown`);
      const hash = documentPutInForce(entry);
      if (hash !== undefined) applied.add(hash);
      lines.push(`${entry}\n`);
      next += 1;
    }
    await file.write(lines.join(''));
    order.onProgress?.(next, size);
  }
  return applied;
}

/** Entries that are none are exported as they are: the verifier names them. */
function documentPutInForce(text: string): string | undefined {
  try {
    const { act, phase, detail } = decodeEntry(Buffer.from(text));
    const hash = detail[policyHashFact];
    return act === policyAct && phase === 'done' && typeof hash === 'string' ? hash : undefined;
  } catch (error) {
    if (error instanceof EntryError) return undefined;
    throw error;
  }
}

/** Each document that the entries put in force, once, oldest first. */
async function documentsOf(order: LogExport, applied: ReadonlySet<string>): Promise<readonly Json[]> {
  const documents = new Map<string, Json>();
  for (const { document } of await order.client.documents()) {
    const hash = documentHash(document as Json);
    if (applied.has(hash)) documents.set(hash, document as Json);
  }
  return [...documents.values()];
}

async function copyInto(file: FileHandle, path: string): Promise<void> {
  await withFileToRead(path, async (source) => {
    for await (const chunk of source.createReadStream({ autoClose: false }) as AsyncIterable<Buffer>) {
      await file.write(chunk);
    }
  });
}

function temporaryBeside(path: string): string {
  return `${path}.${randomBytes(6).toString('hex')}.tmp`;
}

async function withFile<T>(path: string, use: (file: FileHandle) => Promise<T>): Promise<T> {
  const file = await open(path, 'wx', 0o600);
  try {
    return await use(file);
  } finally {
    await file.close();
  }
}

async function withFileToRead(path: string, use: (file: FileHandle) => Promise<void>): Promise<void> {
  const file = await open(path, 'r');
  try {
    await use(file);
  } finally {
    await file.close();
  }
}
