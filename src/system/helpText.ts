/** Columns of the narrowest terminal that help is laid out for. */
const COLUMNS = 80;

/**
 * A description as it stands in the source, without the ends of lines that are there for its sake: whoever lays it out for a terminal
 * breaks it again. What is no longer than a terminal is wide, and what is set apart by blanks or an empty line, stays a line.
 */
export function unbroken(text: string): string {
  return text.replace(/^(.*\S)\n(?=\S)/gm, (whole, line: string) =>
    line.length > COLUMNS ? `${line} ` : whole,
  );
}
