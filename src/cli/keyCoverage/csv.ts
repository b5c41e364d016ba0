import { printable } from '../../escrow/records/freeText.js';
import type { CoveredKeyReply } from '../../api/replies.js';
import { type CoverageListing, unlistedInWords } from './listing.js';
import { failedDrillsOf, lastDrillOf } from './drills.js';
import { unableInWords } from '../words.js';

type Purpose = CoveredKeyReply['purposes'][number];

const NOT_COUNTED = 'not counted';

/** What stands in a line: a key for one of its purposes. */
const COLUMNS: readonly (readonly [
  name: string,
  cell: (key: CoveredKeyReply, purpose: Purpose | undefined) => string,
])[] = [
  ['key', ({ key }) => key],
  ['owner', ({ owner }) => owner],
  ['department', ({ department = '' }) => department],
  ['label', ({ label }) => label],
  ['rule', ({ rule }) => rule],
  ['spec', ({ spec }) => spec],
  ['use', ({ use }) => use],
  ['created', ({ createdAt }) => createdAt],
  ['generation', ({ generation }) => String(generation)],
  ['last used', ({ lastUsedAt = '' }) => lastUsedAt],
  ['as logged', ({ isAsLogged }) => (isAsLogged ? 'yes' : 'no')],
  ['coverage', ({ coverage }) => coverage],
  ['purpose', (_key, purpose) => purpose?.purpose ?? ''],
  ['kek', (_key, purpose) => purpose?.kek ?? ''],
  ['kek state', (_key, purpose) => purpose?.kekState ?? ''],
  ['coverage for purpose', (_key, purpose) => purpose?.coverage ?? ''],
  ['quorums', (_key, purpose) => (purpose === undefined ? '' : String(purpose.quorums))],
  ['live', (_key, purpose) => (purpose === undefined ? '' : String(purpose.live.length))],
  [
    'live quorums',
    (_key, purpose) => purpose?.live.map((members) => members.join(' and ')).join(' or ') ?? '',
  ],
  ['single points of failure', (_key, purpose) => purpose?.singlePoints.join(' ') ?? ''],
  ['drilled quorums', (_key, purpose) => (purpose === undefined ? '' : String(purpose.drilled?.length ?? 0))],
  ['last drill', (_key, purpose) => (purpose === undefined ? '' : lastDrillOf(purpose))],
  ['drills that failed', (_key, purpose) => (purpose === undefined ? '' : failedDrillsOf(purpose).join(' '))],
  [NOT_COUNTED, (_key, purpose) => (purpose === undefined ? '' : (unableInWords(purpose.unable) ?? ''))],
];

/**
 * The keys as CSV (RFC 4180): a line with the names of the columns, then one for each key and purpose, and for a key without
 * purposes; last, without a key, one that says how many keys have no record, and one of those that are lost and not listed as
 * such, where there are any. UTF-8.
 */
export function coverageAsCsv(listing: Pick<CoverageListing, 'keys' | 'keysInLog' | 'lostInLog'>): Buffer {
  const rows = listing.keys.flatMap((key) => {
    const purposes = key.purposes.length === 0 ? [undefined] : key.purposes;
    return purposes.map((purpose) => COLUMNS.map(([, cell]) => cell(key, purpose)));
  });
  const unlisted = unlistedInWords(listing).map((said) => COLUMNS.map(([name]) => unlistedCell(name, said)));
  const lines = [COLUMNS.map(([name]) => name), ...rows, ...unlisted].map((cells) =>
    cells.map(csvField).join(','),
  );
  return Buffer.from(lines.map((line) => `${line}\r\n`).join(''));
}

/** In the line of what is not listed: that it is lost, and why. */
function unlistedCell(column: string, said: string): string {
  if (column === 'coverage') return 'lost';
  return column === NOT_COUNTED ? said : '';
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
