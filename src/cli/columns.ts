import { printable, quoted } from '../escrow/records/freeText.js';
import { brokenInto, cutTo, padded, textWidth } from './textWidth.js';

/** `Name  value` lines with the values under each other; rows without a value are left out. */
export function facts(
  rows: readonly (readonly [name: string, value: string | undefined])[],
): readonly string[] {
  const known = rows.filter((row): row is readonly [string, string] => row[1] !== undefined);
  const width = Math.max(0, ...known.map(([name]) => textWidth(name)));
  return known.map(([name, value]) => `  ${padded(printable(name), width)}  ${printable(value)}`);
}

/** A text that somebody wrote as the cell of a table: nothing, where it is empty. */
export function cellOf(text: string): string {
  return text === '' ? '' : quoted(text);
}

/** Our ids: a prefix and 32 hexadecimal digits. */
const ID = /\b([a-z]{2,10}_)([0-9a-f]{32})\b/g;
/** The shortest beginning of an id that is shown: by chance two ids begin alike once in billions. */
const SHORTEST_DIGITS = 8;
const GAP = '  ';

/**
 * A table with a heading. Where it goes to a terminal, it is made to fit: of ids stands a beginning, which commands take in place of
 * the whole; then seconds are left out; then the last column goes on under itself, or has lines of its own; then what is widest is cut.
 *
 * @param columns of the terminal; undefined: as wide as the widest cells, and nothing is cut short
 */
export function table(
  heading: readonly string[],
  rows: readonly (readonly string[])[],
  columns?: number,
): readonly string[] {
  const whole = [heading, ...rows.map((row) => row.map(printable))];
  if (columns === undefined || widthOf(whole) <= columns) return laidOut(whole);
  const short = withShortIds(whole);
  if (widthOf(short) <= columns) return laidOut(short);
  const brief = short.map((row) => row.map(withoutSeconds));
  return widthOf(brief) <= columns ? laidOut(brief) : laidOutIn(brief, columns);
}

type Cells = readonly (readonly string[])[];

function widths(cells: Cells): readonly number[] {
  return (cells[0] ?? []).map((_, column) => Math.max(...cells.map((row) => textWidth(row[column] ?? ''))));
}

function widthOf(cells: Cells): number {
  return sum(widths(cells)) + GAP.length * Math.max(0, (cells[0]?.length ?? 0) - 1);
}

function laidOut(cells: Cells): readonly string[] {
  const wide = widths(cells);
  return cells.map((row) =>
    row
      .map((cell, at) => padded(cell, wide[at] ?? 0))
      .join(GAP)
      .trimEnd(),
  );
}

/** The last column goes on under itself where there is room for words, else under the row; the others are cut where they must be. */
function laidOutIn(cells: Cells, columns: number): readonly string[] {
  const wide = [...widths(cells)];
  const last = wide.pop() ?? 0;
  const room = (): number => columns - sum(wide) - GAP.length * wide.length;
  const isBeside = room() >= Math.min(last, LEAST_COLUMNS);
  while (!isBeside && room() + GAP.length < 0 && Math.max(...wide) > LEAST_COLUMNS)
    wide[wide.indexOf(Math.max(...wide))] = Math.max(...wide) - 1;
  return cells.flatMap((row) => {
    const begin = wide.map((size, at) => padded(cutTo(row[at] ?? '', size), size)).join(GAP);
    const end = row.at(-1) ?? '';
    const indent = isBeside ? textWidth(begin) + GAP.length : INDENT;
    const [first = '', ...more] = brokenInto(end, columns - indent).map((line) =>
      cutTo(line, columns - indent),
    );
    const under = (isBeside ? more : [first, ...more]).filter((line) => line !== '');
    const beside = isBeside ? `${begin}${GAP}${first}` : begin;
    return [beside.trimEnd(), ...under.map((line) => `${' '.repeat(indent)}${line}`)];
  });
}
const LEAST_COLUMNS = 12;
const INDENT = 4;

/** The beginnings of ids, so long that none of those in the table begins like another. */
function withShortIds(cells: Cells): Cells {
  const ids = new Set(cells.flatMap((row) => row.flatMap((cell) => cell.match(ID) ?? [])));
  const begin = (id: string, digits: number): string =>
    id.replace(ID, (_id, prefix: string, all: string) => prefix + all.slice(0, digits));
  let digits = SHORTEST_DIGITS;
  while (new Set([...ids].map((id) => begin(id, digits))).size < ids.size) digits += 1;
  return cells.map((row) => row.map((cell) => begin(cell, digits)));
}

function withoutSeconds(cell: string): string {
  return cell.replace(/^(\d{4}-\d\d-\d\d \d\d:\d\d):\d\d(?= |$)/, '$1');
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((all, one) => all + one, 0);
}
