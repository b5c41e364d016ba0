import type { ActsOf, Period, Reading } from './reading.js';
import type { OfficeHours } from './officeHours.js';

/** What stands in a cell; undefined: nothing is known, or it does not apply. */
export type Cell = string | number | readonly string[] | undefined;

/**
 * What the cells of a column are: texts of ours; instants (RFC 3339, UTC); ids of people or apps, beside which their names are
 * told; ids of keys, beside which their labels are; and what somebody wrote.
 */
export type CellKind = 'text' | 'number' | 'instant' | 'people' | 'keys' | 'written';

export interface Column {
  /** In JSON. Stable, and each once in a report. */
  readonly name: string;
  /** In tables and in CSV. */
  readonly heading: string;
  readonly is: CellKind;
  /** It stands in CSV and JSON alone. */
  readonly isMore?: true;
}

/** One line of a report. */
export interface Row {
  /** By the names of columns. */
  readonly cells: Readonly<Record<string, Cell>>;
  /** By what a filter takes it. */
  readonly about: About;
}

export interface About {
  readonly owners?: readonly string[];
  /** Everybody who has a part in it, apps as well. */
  readonly people?: readonly string[];
  readonly apps?: readonly string[];
  readonly keys?: readonly string[];
}

/** What a report is narrowed to; each row has to be about all that is given. */
export interface ReportFilter {
  readonly owner?: string;
  /** The owner's, or where a row has no owner, that of one of its people. */
  readonly department?: string;
  readonly app?: string;
  readonly person?: string;
  readonly key?: string;
}

/** What some reports can be narrowed to besides. */
export interface ReportOptions {
  /** `uses`: outside of these. */
  readonly outside?: OfficeHours;
  /** `grants`: that are open at the end; `requests`: that are. */
  readonly isOpen?: boolean;
  /** `access`: keys that nobody can bring back. */
  readonly isLost?: boolean;
  /** `access`: keys that their depositaries have never brought back. */
  readonly isUntried?: boolean;
  /** `acts`: whose name begins with this. */
  readonly act?: string;
  /** `acts`: that have this text in them somewhere. */
  readonly text?: string;
  /** `duties`: of which there is no acknowledgement. */
  readonly isMissing?: boolean;
}

export type ReportOption = keyof ReportOptions;

/** When a report is as of: the end of its period, or where it has none, the instant until which the log is known. */
export interface AsOf {
  readonly at: string;
}

/** A report that can be made of any log. */
export interface Report {
  readonly name: string;
  /** What a row of it is. */
  readonly summary: string;
  readonly about: string;
  readonly options: readonly ReportOption[];
  readonly acts: ActsOf;
  readonly columns: readonly Column[];
  rows(reading: Reading, options: ReportOptions & AsOf): readonly Row[];
  /** What one has to know to read it, in sentences; none where the rows say all. */
  notes?(reading: Reading, rows: readonly Row[]): readonly string[];
}

/** For reports that tell how things stand, and no acts. */
export const NO_ACTS: ActsOf = () => ({ begins: () => false });

/** Those rows that a filter takes. */
export function filtered(
  rows: readonly Row[],
  filter: ReportFilter,
  departmentOf: (id: string) => string,
): readonly Row[] {
  const { owner, department, app, person, key } = filter;
  const has = (of: readonly string[] | undefined, wanted: string | undefined): boolean =>
    wanted === undefined || of?.includes(wanted) === true;
  return rows.filter(({ about }) => {
    const { owners, people = [] } = about;
    return (
      has(owners, owner) &&
      has((owners ?? people).map(departmentOf), department) &&
      has(about.apps, app) &&
      has([...people, ...(owners ?? [])], person) &&
      has(about.keys, key)
    );
  });
}

/** Whether an instant is in a period. */
export function isIn({ from, to }: Period, instant: string): boolean {
  return (from === undefined || instant >= from) && (to === undefined || instant < to);
}
