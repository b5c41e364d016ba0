import { printable } from '../../escrow/records/freeText.js';
import type { CoveredKeyReply } from '../../api/replies.js';
import type { CoverageListing } from './listing.js';
import { unableInWords } from '../words.js';

type Purpose = CoveredKeyReply['purposes'][number];

/** What stands in a line: a key for one of its purposes. */
const COLUMNS: readonly (readonly [
  name: string,
  cell: (key: CoveredKeyReply, purpose: Purpose) => string,
])[] = [
  ['key', ({ key }) => key],
  ['owner', ({ owner }) => owner],
  ['department', ({ department = '' }) => department],
  ['label', ({ label }) => label],
  ['rule', ({ rule }) => rule],
  ['spec', ({ spec }) => spec],
  ['use', ({ use }) => use],
  ['created', ({ createdAt }) => createdAt],
  ['last used', ({ lastUsedAt = '' }) => lastUsedAt],
  ['as logged', ({ isAsLogged }) => (isAsLogged ? 'yes' : 'no')],
  ['coverage', ({ coverage }) => coverage],
  ['purpose', (_key, { purpose }) => purpose],
  ['coverage for purpose', (_key, { coverage }) => coverage],
  ['quorums', (_key, { quorums }) => String(quorums)],
  ['live', (_key, { live }) => String(live.length)],
  ['live quorums', (_key, { live }) => live.map((members) => members.join(' and ')).join(' or ')],
  ['single points of failure', (_key, { singlePoints }) => singlePoints.join(' ')],
  ['not counted', (_key, { unable }) => unableInWords(unable) ?? ''],
];

/** The keys as CSV (RFC 4180): a line with the names of the columns, then one for each key and purpose. UTF-8. */
export function coverageAsCsv({ keys }: Pick<CoverageListing, 'keys'>): Buffer {
  const rows = keys.flatMap((key) =>
    key.purposes.map((purpose) => COLUMNS.map(([, cell]) => cell(key, purpose))),
  );
  const lines = [COLUMNS.map(([name]) => name), ...rows].map((cells) => cells.map(csvField).join(','));
  return Buffer.from(lines.map((line) => `${line}\r\n`).join(''));
}

/**
 * A field in quotes (RFC 4180, section 2). One that a spreadsheet would take for a formula gets an apostrophe in front, which it
 * takes for the sign of a text; characters that one does not see are written out.
 */
export function csvField(text: string): string {
  const seen = printable(text);
  const isFormula = /^\s*[=+\-@\uff0b\uff0d\uff1d\uff20|%]/.test(seen);
  return `"${isFormula ? "'" : ''}${seen.replaceAll('"', '""')}"`;
}
