import type { Json } from '../../src/log/entry/canonical.js';
import { encodeEntry, type Entry } from '../../src/log/entry/entry.js';
import { checkpointLine, documentHash, documentLine, headerLine } from '../../src/log/export/format.js';
import { ExportVerifier, type Verdict, type VerifierOptions } from '../../src/log/export/verifier.js';
import { checkpointOf as signedCheckpoint } from './exportText.js';
import type { TestKey } from './noteKeys.js';

export const origin = 'escrow.example.com/log';

/** An entry with what most have in common. */
export function entry(
  phase: Entry['phase'],
  id: string,
  more: Partial<Entry> & Pick<Entry, 'time'> = { time: '2026-01-01T00:00:00.000Z' },
): Entry {
  const common = {
    v: 1,
    act: 'key.generate',
    id,
    phase,
    actor: 'person:ada',
    subject: {},
    detail: {},
  } as const;
  const coded = phase === 'denied' || phase === 'failed' ? { error: 'not-allowed' } : {};
  return { ...common, ...coded, ...more };
}

const at = (second: number): { readonly time: string } => ({
  time: `2026-01-01T00:00:${String(second).padStart(2, '0')}.000Z`,
});
const request = 'eyJhIjoxfQ.eyJiIjoyfQ.c2lnbmF0dXJl';

export const documents: readonly Json[] = [
  { version: 1, rules: [] },
  { version: 2, rules: ['ünïcode \u2028 €'] },
];

const apply = (id: string, document: Json, second: number): readonly Entry[] => [
  entry('attempted', id, { ...at(second), act: 'policy.apply', request }),
  entry('done', id, { ...at(second), act: 'policy.apply', detail: { policyHash: documentHash(document) } }),
];

/** A log with every kind of entry: acts that overlap, a refusal that stands alone, an attempt left open. */
export const sampleEntries: readonly Entry[] = [
  ...apply('act-1', documents[0] ?? null, 1),
  entry('attempted', 'act-2', { ...at(2), request, subject: { owner: 'person:ada' } }),
  entry('attempted', 'act-3', { ...at(3), request, detail: { note: 'line one\nline two \u2028 three' } }),
  entry('done', 'act-2', {
    ...at(4),
    digest: 'ab'.repeat(32),
    subject: { key: 'key-1', owner: 'person:ada' },
  }),
  entry('denied', 'act-4', { ...at(5), request }),
  entry('failed', 'act-3', { ...at(6) }),
  ...apply('act-5', documents[1] ?? null, 7),
  entry('attempted', 'act-6', { ...at(8), act: 'recovery.expire', actor: 'daemon' }),
  entry('denied', 'act-6', { ...at(9), act: 'recovery.expire', actor: 'daemon' }),
  entry('attempted', 'act-7', { ...at(10), request }),
];

/** The signed checkpoint of the log that consists of these entries. */
export function checkpointOf(logKey: TestKey, lines: readonly string[], of: string = origin): string {
  return signedCheckpoint({ origin: of, logKey, lines });
}

export const entryLine = (value: Entry): string => Buffer.from(encodeEntry(value)).toString();

/** The lines of an export, in its parts, for tests to tamper with. */
export interface ExportLines {
  readonly header: string;
  readonly documents: readonly string[];
  readonly entries: readonly string[];
  readonly checkpoint: string;
}

export function exportLines(key: TestKey, entries: readonly Entry[] = sampleEntries): ExportLines {
  const lines = entries.map(entryLine);
  return {
    header: headerLine({ origin, logKey: key.vkey }),
    documents: documents.map(documentLine),
    entries: lines,
    checkpoint: checkpointLine(checkpointOf(key, lines)),
  };
}

/** The same, signed anew by whoever holds the key: what only structure, or an older checkpoint, can tell. */
export function resigned(key: TestKey, lines: ExportLines): ExportLines {
  return { ...lines, checkpoint: checkpointLine(checkpointOf(key, lines.entries)) };
}

export function joined(lines: ExportLines): readonly string[] {
  return [lines.header, ...lines.documents, ...lines.entries, lines.checkpoint];
}

export function verdictOn(lines: readonly string[], options: VerifierOptions): Verdict {
  const verifier = new ExportVerifier(options);
  for (const line of lines) verifier.line(line);
  return verifier.finish();
}
