/** A terminal's usual width, in characters. */
const WIDTH = 80;

/** A text as lines of at most 80 characters, broken at spaces; a word that is longer stands by itself. */
export function folded(text: string, indent: string, further = `${indent}  `): readonly string[] {
  const lines: string[] = [];
  let line = indent;
  for (const word of text.split(' ')) {
    const isEmpty = line.trim() === '';
    if (!isEmpty && line.length + 1 + word.length > WIDTH) {
      lines.push(line);
      line = `${further}${word}`;
    } else line = isEmpty ? `${line}${word}` : `${line} ${word}`;
  }
  return [...lines, line];
}
