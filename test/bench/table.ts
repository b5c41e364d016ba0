/** Figures in rows and columns, under a sentence that says what they are. */
export interface Table {
  readonly title: string;
  readonly columns: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

/** A table as text, its columns aligned: the first to the left, figures to the right. */
export function formatTable({ title, columns, rows }: Table): string {
  const widths = columns.map((name, at) =>
    Math.max(name.length, ...rows.map((row) => (row[at] ?? '').length)),
  );
  const line = (cells: readonly string[]): string =>
    widths
      .map((width, at) => (at === 0 ? (cells[at] ?? '').padEnd(width) : (cells[at] ?? '').padStart(width)))
      .join('  ')
      .trimEnd();
  return [title, '', ...[columns, widths.map((width) => '-'.repeat(width)), ...rows].map(line), ''].join(
    '\n',
  );
}

/** A whole number with separators: 12,345. */
export function count(value: number): string {
  return Math.round(value).toLocaleString('en-US');
}

/** A time in milliseconds, to a hundredth. */
export function milliseconds(value: number): string {
  return value.toFixed(2);
}

/** How many times `value` is of `base`. */
export function times(value: number, base: number): string {
  const ratio = value / base;
  return `${ratio.toFixed(ratio < 10 ? 2 : 1)}x`;
}
