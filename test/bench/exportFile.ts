import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import type { Json } from '../../src/log/entry/canonical.js';
import { checkpointLine, documentLine, headerLine } from '../../src/log/export/format.js';
import { Frontier, leafHash } from '../../src/log/tree/merkle.js';
import { signCheckpoint, type TestKey } from '../log/noteKeys.js';

/** What an export is made of. */
export interface Contents {
  readonly origin: string;
  readonly logKey: TestKey;
  readonly documents?: readonly Json[];
  /** As they are encoded. */
  readonly entries: Iterable<Uint8Array>;
}

/** Writes an export of any size. */
export async function writeExport(path: string, contents: Contents): Promise<void> {
  const { origin, logKey, documents = [], entries } = contents;
  const file = createWriteStream(path);
  const put = async (line: string | Uint8Array): Promise<void> => {
    file.write(line);
    if (!file.write('\n')) await once(file, 'drain');
  };
  await put(headerLine({ origin, logKey: logKey.vkey }));
  for (const document of documents) await put(documentLine(document));
  const tree = Frontier.empty();
  for (const entry of entries) {
    tree.append(leafHash(entry));
    await put(entry);
  }
  await put(checkpointLine(signCheckpoint(logKey, { origin, size: tree.size, root: tree.root() })));
  file.end();
  await once(file, 'close');
}
