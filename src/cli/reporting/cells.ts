import type { Reading } from '../../audit/reports/reading.js';
import type { Cell, Column, Row } from '../../audit/reports/report.js';
import { cellOf } from '../columns.js';

/** Ids are told with the names that people know them by. */
export type Names = Pick<Reading, 'people' | 'keys'>;

/** So much of a long id tells it from others; `--key` takes it, as it takes a label. */
const SHORT_ID = 12;

/** A cell as it stands in a table: people by names and ids, keys by labels where there are any, instants by the clocks of a zone. */
export function cellInTable(column: Column, { cells }: Row, names: Names, zone: string): string {
  const values = listed(cells[column.name]);
  switch (column.is) {
    case 'instant':
      return values.map((instant) => localMinute(instant, zone)).join(', ');
    case 'people':
      return values.map((id) => named(names.people.nameOf(id), id)).join(', ');
    case 'keys':
      return values.map((key) => keyInTable(key, names)).join(', ');
    case 'written':
      return values.map(cellOf).join(' ');
    case 'text':
    case 'number':
      return values.join(column.name === 'live' ? ', or ' : ', ');
  }
}

/** The headings of a column in CSV: people and keys have a second one, of what they are called. */
export function headingsOf({ heading, is }: Column): readonly string[] {
  if (is === 'people') return [heading, `${heading}: name`];
  return is === 'keys' ? [heading, `${heading}: label`] : [heading];
}

/** The fields of a cell in CSV, as many as it has headings. What is of several is told in one field, with semicolons between. */
export function fieldsOf({ name, is }: Column, { cells }: Row, { people, keys }: Names): readonly string[] {
  const values = listed(cells[name]);
  const joined = values.join('; ');
  if (is === 'people') return [joined, values.map((id) => people.nameOf(id)).join('; ')];
  return is === 'keys' ? [joined, values.map((key) => keys.labelOf(key)).join('; ')] : [joined];
}

/** The members of a cell in JSON; null where nothing is known. */
export function membersOf(
  { name, is }: Column,
  { cells }: Row,
  { people, keys }: Names,
): Readonly<Record<string, unknown>> {
  const value = cells[name];
  const called = (nameOf: (id: string) => string): string | readonly string[] | null => {
    if (value === undefined) return null;
    return typeof value === 'object' ? value.map(nameOf) : nameOf(String(value));
  };
  const itself = { [name]: value ?? null };
  if (is === 'people') return { ...itself, [`${name}Name`]: called((id) => people.nameOf(id)) };
  return is === 'keys' ? { ...itself, [`${name}Label`]: called((key) => keys.labelOf(key)) } : itself;
}

/** An instant by the clocks of a zone, to the minute: `2026-01-31 14:05`. */
export function localMinute(instant: string, zone: string): string {
  const parts = new Intl.DateTimeFormat('en-GB', {
    year: 'numeric',
    month: '2-digit',
    day: '2-digit',
    hour: '2-digit',
    minute: '2-digit',
    hourCycle: 'h23',
    timeZone: zone,
  }).formatToParts(new Date(instant));
  const part = (type: Intl.DateTimeFormatPartTypes): string =>
    parts.find((one) => one.type === type)?.value ?? '';
  return `${part('year')}-${part('month')}-${part('day')} ${part('hour')}:${part('minute')}`;
}

function keyInTable(key: string, { keys }: Names): string {
  const label = keys.labelOf(key);
  return label === '' ? key.slice(0, SHORT_ID) : cellOf(label);
}

function named(name: string, id: string): string {
  return name === '' ? id : `${name} (${id})`;
}

function listed(cell: Cell): readonly string[] {
  if (cell === undefined) return [];
  return typeof cell === 'object' ? cell : [String(cell)];
}
