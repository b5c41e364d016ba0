/** How many columns of a terminal a text takes: wide characters two, marks that are drawn over others none. */
export function textWidth(text: string): number {
  // most texts are plain
  if (/^[\x20-\x7e]*$/.test(text)) return text.length;
  let width = 0;
  for (const { segment } of GRAPHEMES.segment(text)) width += graphemeWidth(segment);
  return width;
}

const GRAPHEMES = new Intl.Segmenter('en', { granularity: 'grapheme' });

/** Drawn as pictures, and what Unicode (UAX #11) calls wide and full-width. */
const WIDE =
  /\p{Emoji_Presentation}|\uFE0F|[\u1100-\u115F\u2E80-\u303E\u3041-\u33FF\u3400-\u4DBF\u4E00-\u9FFF\uA000-\uA4CF\uA960-\uA97F\uAC00-\uD7A3\uF900-\uFAFF\uFE30-\uFE6F\uFF00-\uFF60\uFFE0-\uFFE6\u{17000}-\u{18CFF}\u{1B000}-\u{1B2FF}\u{1F200}-\u{1F2FF}\u{20000}-\u{3FFFD}]/u;
const NO_WIDTH = /^[\p{M}\p{Cf}]+$/u;

function graphemeWidth(grapheme: string): number {
  if (NO_WIDTH.test(grapheme)) return 0;
  return WIDE.test(grapheme) ? 2 : 1;
}

/** The text with blanks after it up to so many columns. */
export function padded(text: string, columns: number): string {
  return text + ' '.repeat(Math.max(0, columns - textWidth(text)));
}

/** As much of a text as has room, with `…` where something is left out. */
export function cutTo(text: string, columns: number): string {
  if (textWidth(text) <= columns) return text;
  let cut = '';
  let width = 1;
  for (const { segment } of GRAPHEMES.segment(text)) {
    width += graphemeWidth(segment);
    if (width > columns) break;
    cut += segment;
  }
  return `${cut}…`;
}

/** Breaks a text between words so that no line is wider; a word that is wider has a line of its own, and is not broken. */
export function brokenInto(text: string, columns: number): readonly string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    const longer = line === '' ? word : `${line} ${word}`;
    if (line !== '' && textWidth(longer) > columns) {
      lines.push(line);
      line = word;
    } else line = longer;
  }
  return [...lines, line];
}

/** A line of facts begins its value after a gap; every other line hangs by what it is indented by. */
const HANGS_BY = /^(?: {2,}\S(?:.*?\S)? {2,}(?=\S)| *)/;

/** A line of a result as it stands on a terminal: broken between words, the rest under where the value or the line begins. */
export function fittedLine(line: string, columns: number): readonly string[] {
  if (textWidth(line) <= columns) return [line];
  const begins = HANGS_BY.exec(line)?.[0] ?? '';
  const indent = textWidth(begins);
  if (indent > columns / 2) return [line];
  const [first = '', ...rest] = brokenInto(line.slice(begins.length), columns - indent);
  return [`${begins}${first}`, ...rest.map((more) => `${' '.repeat(indent)}${more}`)];
}
