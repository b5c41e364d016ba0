import type { Json } from '../../src/log/entry/canonical.js';
import { checkpointLine, documentLine, headerLine } from '../../src/log/export/format.js';
import { Frontier, leafHash } from '../../src/log/tree/merkle.js';
import { signCheckpoint, type TestKey } from './noteKeys.js';

/** What an export is made of: the parts that tests tamper with. */
export interface ExportParts {
  readonly origin: string;
  readonly logKey: TestKey;
  readonly documents: readonly Json[];
  /** Of the entries, without line feeds. */
  readonly lines: readonly string[];
}

/** The signed checkpoint of the log that consists of these entries. */
export function checkpointOf({ origin, logKey, lines }: Omit<ExportParts, 'documents'>): string {
  const tree = Frontier.empty();
  for (const line of lines) tree.append(leafHash(Buffer.from(line)));
  return signCheckpoint(logKey, { origin, size: tree.size, root: tree.root() });
}

/** The lines of the export of these entries, under a tree and a signature of their own. */
export function exportLinesOf(parts: ExportParts): readonly string[] {
  const { origin, logKey, documents, lines } = parts;
  return [
    headerLine({ origin, logKey: logKey.vkey }),
    ...documents.map(documentLine),
    ...lines,
    checkpointLine(checkpointOf(parts)),
  ];
}

/** Each line with its line feed. */
export function bytesOf(lines: readonly string[]): Buffer {
  return Buffer.from(lines.map((line) => `${line}\n`).join(''));
}
