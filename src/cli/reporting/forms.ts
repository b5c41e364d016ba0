import type { Reading } from '../../audit/reports/reading.js';
import type { Report, Row } from '../../audit/reports/report.js';
import { facts, table } from '../columns.js';
import { csvField } from '../keyCoverage/csv.js';
import { folded } from '../keyCoverage/folded.js';
import { cellInTable, fieldsOf, headingsOf, localMinute, membersOf } from './cells.js';
import type { Evidence } from './source.js';

/** A report that was made, and of what. */
export interface MadeReport {
  readonly report: Report;
  readonly rows: readonly Row[];
  readonly reading: Reading;
  readonly evidence: Evidence;
  /** What it was narrowed to, in words; empty where it was not. */
  readonly narrowed: readonly string[];
  /** IANA name: by its clocks people read instants. */
  readonly zone: string;
}

/** For people: on what it rests, then a table, then how many there were. */
export function reportAsLines(made: MadeReport): readonly string[] {
  const { report, rows, reading, narrowed, zone } = made;
  const columns = report.columns.filter(({ isMore }) => isMore !== true);
  const notes = report.notes?.(reading, rows) ?? [];
  return [
    ...evidenceLines(made),
    '',
    ...(rows.length === 0
      ? ['Nothing.']
      : table(
          columns.map(({ heading }) => heading.toUpperCase()),
          rows.map((row) => columns.map((column) => cellInTable(column, row, reading, zone))),
        )),
    '',
    `${rows.length} ${rows.length === 1 ? 'line' : 'lines'}${narrowed.length === 0 ? '' : `, of ${narrowed.join(', ')} only`}. Times are those of ${zone}. All columns: --csv, --json.`,
    ...notes.flatMap((note) => folded(note, '')),
  ];
}

function evidenceLines(made: MadeReport): readonly string[] {
  const { reading, evidence, zone } = made;
  const { verdict, requests, trust } = evidence;
  const { firstAt, lastAt } = reading;
  const span =
    firstAt === undefined || lastAt === undefined
      ? ''
      : `, ${localMinute(firstAt, zone)} to ${localMinute(lastAt, zone)}`;
  return [
    'The log was verified: these are its own entries, and each act is by whoever signed it.',
    ...facts([
      ['log', verdict.origin],
      ['entries', `${verdict.size}${span}`],
      ['root', Buffer.from(verdict.root).toString('base64')],
      ['period', periodInWords(made)],
      [
        'older checkpoint',
        trust.against === undefined ? 'none given: an old copy would not be found' : 'continued',
      ],
      ['witnesses', trust.witnesses === undefined ? undefined : verdict.cosignedBy.join(', ')],
      [
        'not known',
        requests.unknown === 0
          ? undefined
          : `who signed ${requests.unknown} requests before the first policy`,
      ],
      [
        'reported',
        verdict.reported.count === 0
          ? undefined
          : `${verdict.reported.count} acts that count for nothing: escrowctl log verify`,
      ],
    ]),
  ];
}

function periodInWords({ reading: { period }, zone }: MadeReport): string {
  const { from, to } = period;
  const begins = from === undefined ? 'the beginning' : localMinute(from, zone);
  return `${begins} up to ${to === undefined ? 'the end' : localMinute(to, zone)}`;
}

/** CSV (RFC 4180): a line with the headings, then one for each row; all columns. UTF-8. */
export function reportAsCsv({ report: { columns }, rows, reading }: MadeReport): Buffer {
  const lines = [
    columns.flatMap(headingsOf),
    ...rows.map((row) => columns.flatMap((column) => fieldsOf(column, row, reading))),
  ];
  return Buffer.from(lines.map((fields) => `${fields.map(csvField).join(',')}\r\n`).join(''));
}

/** One value of a stable shape: on what it rests, and all columns of all rows. */
export function reportAsJson({ report, rows, reading, evidence, zone }: MadeReport): unknown {
  const { verdict, requests, trust, file } = evidence;
  return {
    report: report.name,
    period: { from: reading.period.from ?? null, to: reading.period.to ?? null, zone },
    evidence: {
      origin: verdict.origin,
      size: verdict.size,
      root: Buffer.from(verdict.root).toString('base64'),
      checkpoint: verdict.checkpoint,
      firstAt: reading.firstAt ?? null,
      lastAt: reading.lastAt ?? null,
      against: trust.against !== undefined,
      cosignedBy: verdict.cosignedBy,
      requests,
      reported: verdict.reported.count,
      file: file ?? null,
    },
    policyVersion: reading.people.policy?.version ?? null,
    rows: rows.map((row) =>
      Object.fromEntries(report.columns.flatMap((column) => Object.entries(membersOf(column, row, reading)))),
    ),
  };
}
