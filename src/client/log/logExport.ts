import { type FileHandle, open, rm, truncate } from 'node:fs/promises';

import type { Json } from '../../log/entry/canonical.js';
import type { Checkpoint } from '../../log/note/checkpoint.js';
import { decodeEntry, EntryError } from '../../log/entry/entry.js';
import { checkpointLine, documentHash, documentLine, headerLine } from '../../log/export/format.js';
import { LineError, LineSplitter } from '../../log/export/lines.js';
import { Frontier, leafHash } from '../../log/tree/merkle.js';
import { ProofError, verifyConsistency } from '../../log/tree/proof.js';
import { policyAct, policyHashFact } from '../../log/export/verifier.js';
import { writeWhole } from '../../system/files.js';
import { codeOf } from '../../system/errors.js';
import { NotBelieved } from '../errors.js';
import type { EscrowClient } from '../escrowClient.js';
import type { LogView } from './logView.js';

/** How many entries are asked for at once. */
const PAGE = 200;

export interface LogExport {
  readonly client: Pick<EscrowClient, 'checkpoint' | 'consistency' | 'entries' | 'documents'>;
  readonly log: LogView;
  readonly origin: string;
  readonly logKey: string;
  readonly path: string;
  /** Told as entries arrive. */
  readonly onProgress?: (done: number, total: number) => void;
}

export interface Exported {
  readonly size: number;
  readonly checkpoint: string;
  /** How many entries were there already, from an export that was interrupted. */
  readonly resumedAt: number;
}

/**
 * Writes the log up to its newest checkpoint, in the format that the verifier reads, page by page, in memory that does
 * not grow with the log. The file appears whole, or not at all; one that stands there is replaced. The checkpoint must
 * continue what was seen before; the entries are for the verifier to judge.
 *
 * Entries are gathered in `<path>.partial`, which stays when the export is interrupted. The next one goes on from there,
 * after a proof that what it holds is the beginning of the log; the file is then the same as if nothing had happened.
 * One export to a path at a time.
 *
 * @throws NotBelieved, ServerProblem, ServerUnreachable
 */
export async function exportLog(order: LogExport): Promise<Exported> {
  const { note, checkpoint } = await newestBelieved(order);
  const { size } = checkpoint;
  const partialPath = `${order.path}.partial`;
  const held = await readPartial(partialPath);
  await requirePrefix(order, held, checkpoint, partialPath);
  // the documents stand before the entries, and which of them belong there only the entries tell
  await withFile(partialPath, 'a', (file) => writeEntries(file, order, held, size));
  await writeWhole(order.path, 0o600, async (file) => {
    await file.write(`${headerLine(order)}\n`);
    for (const document of await documentsOf(order, held.applied))
      await file.write(`${documentLine(document)}\n`);
    await copyInto(file, partialPath);
    await file.write(`${checkpointLine(note)}\n`);
  });
  await rm(partialPath);
  return { size, checkpoint: note, resumedAt: held.tree.size };
}

/** The newest checkpoint; with the cosignatures of the witnesses that are required, when there are any. */
async function newestBelieved({
  client,
  log,
}: LogExport): Promise<{ readonly note: string; readonly checkpoint: Checkpoint }> {
  const note = await client.checkpoint();
  const checkpoint = await log.believe(note);
  return (await log.believeWitnessed(checkpoint.size)) ?? { note, checkpoint };
}

/** The entries that an interrupted export has left. */
interface Held {
  readonly tree: Frontier;
  /** Hashes of the documents that the entries put in force; grows as more are written. */
  readonly applied: Set<string>;
}

/** Reads what is there, and cuts off a line that was not written to its end. */
async function readPartial(path: string): Promise<Held> {
  const held: Held = { tree: Frontier.empty(), applied: new Set() };
  const splitter = new LineSplitter();
  let wholeBytes = 0;
  try {
    await withFile(path, 'r', async (file) => {
      for await (const chunk of file.createReadStream({ autoClose: false }) as AsyncIterable<Buffer>) {
        for (const { text, bytes } of splitter.push(chunk)) {
          held.tree.append(leafHash(bytes));
          noteDocument(held, text);
          wholeBytes += bytes.length + 1;
        }
      }
    });
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return held;
    if (error instanceof LineError) throw notPrefix(path, error);
    throw error;
  }
  await truncate(path, wholeBytes);
  return held;
}

/** @throws NotBelieved `export-refused` unless what is held is the beginning of the log under this checkpoint */
async function requirePrefix(
  { client }: LogExport,
  { tree }: Held,
  { size, root }: Checkpoint,
  path: string,
): Promise<void> {
  if (tree.size === 0) return;
  if (tree.size > size) throw notPrefix(path);
  const proof = tree.size === size ? [] : await client.consistency(tree.size, size);
  try {
    verifyConsistency({ oldSize: tree.size, newSize: size, oldRoot: tree.root(), newRoot: root, proof });
  } catch (error) {
    if (error instanceof ProofError) throw notPrefix(path, error);
    throw error;
  }
}

function notPrefix(path: string, cause?: unknown): NotBelieved {
  return new NotBelieved(
    'export-refused',
    `${path}, from an export that was interrupted, is not the beginning of this log: keep it, or delete it, and export anew`,
    { cause },
  );
}

async function writeEntries(file: FileHandle, order: LogExport, held: Held, size: number): Promise<void> {
  for (let next = held.tree.size; next < size;) {
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
      // one line would become two, and every entry after it another one
      if (entry.includes('\n')) throw new NotBelieved('export-refused', `entry ${index} is not one line`);
      noteDocument(held, entry);
      lines.push(`${entry}\n`);
      next += 1;
    }
    await file.write(lines.join(''));
    order.onProgress?.(next, size);
  }
}

function noteDocument({ applied }: Held, entry: string): void {
  const hash = documentPutInForce(entry);
  if (hash !== undefined) applied.add(hash);
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
  let after: string | undefined;
  do {
    const page = await order.client.documents(after === undefined ? {} : { after });
    for (const { document } of page.items) {
      const hash = documentHash(document as Json);
      if (applied.has(hash)) documents.set(hash, document as Json);
    }
    if (page.next !== undefined && page.items.length === 0)
      throw new NotBelieved(
        'export-refused',
        'the server shows an empty page of policies, and says there are more',
      );
    after = page.next;
  } while (after !== undefined);
  return [...documents.values()];
}

async function copyInto(file: FileHandle, path: string): Promise<void> {
  await withFile(path, 'r', async (source) => {
    for await (const chunk of source.createReadStream({ autoClose: false }) as AsyncIterable<Buffer>) {
      await file.write(chunk);
    }
  });
}

async function withFile<T>(
  path: string,
  flags: 'a' | 'r',
  use: (file: FileHandle) => Promise<T>,
): Promise<T> {
  const file = await open(path, flags, 0o600);
  try {
    return await use(file);
  } finally {
    await file.close();
  }
}
