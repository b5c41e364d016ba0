import { printable, quoted } from '../escrow/records/freeText.js';

/** `Name  value` lines with the values under each other; rows without a value are left out. */
export function facts(
  rows: readonly (readonly [name: string, value: string | undefined])[],
): readonly string[] {
  const known = rows.filter((row): row is readonly [string, string] => row[1] !== undefined);
  const width = Math.max(0, ...known.map(([name]) => name.length));
  return known.map(([name, value]) => `  ${printable(name).padEnd(width)}  ${printable(value)}`);
}

/** A text that somebody wrote as the cell of a table: nothing, where it is empty. */
export function cellOf(text: string): string {
  return text === '' ? '' : quoted(text);
}

/** A table with a heading; columns are as wide as their widest cell, and nothing is cut short. */
export function table(heading: readonly string[], rows: readonly (readonly string[])[]): readonly string[] {
  const cells = [heading, ...rows.map((row) => row.map(printable))];
  const widths = heading.map((_, column) => Math.max(...cells.map((row) => row[column]?.length ?? 0)));
  return cells.map((row) =>
    row
      .map((cell, column) => (column === row.length - 1 ? cell : cell.padEnd(widths[column] ?? 0)))
      .join('  ')
      .trimEnd(),
  );
}
