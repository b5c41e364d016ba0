import { isWellFormed } from '../../log/entry/canonical.js';

/*
 * Texts that somebody wrote: labels, reasons, names. Whoever shows one to a person lets `quoted` show it, so that it cannot
 * hide anything, repaint what stands around it, or pretend to be something else.
 */

/** Controls, formats, what Unicode leaves out when it draws, and a braille pattern without dots. */
const UNSEEN = /[\p{Cc}\p{Cf}\p{Co}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}\u2800]/u;
/** The same, and what has no meaning yet or none by itself. */
const NOT_SHOWN = /[\p{C}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}\u2800]|(?! )\p{Zs}/gu;
/** Marks that would be drawn over what stands before the text, or far above and below it. */
const STRAY_MARKS = /^\p{M}|(?<=\p{M}{4})\p{M}/gu;

/** A text in which every character is seen: the others are written out, such as `\u{202e}`. Spaces stay as they are. */
export function printable(text: string): string {
  return text.replace(NOT_SHOWN, (character) => {
    if (character === '\n') return '\\n';
    if (character === '\t') return '\\t';
    return writtenOut(character);
  });
}

/**
 * What somebody wrote, in quotes, on one line, with every character seen: white space is one space and none at the ends,
 * a quote or backslash in it has a backslash before it. So it is seen where it begins and ends.
 */
export function quoted(text: string): string {
  const collapsed = text.replace(/\s+/gu, ' ').replace(/^ | $/g, '');
  const escaped = collapsed.replace(/["\\]/g, '\\$&').replace(STRAY_MARKS, writtenOut);
  return `"${printable(escaped)}"`;
}

/** JSON text as it may stand on a terminal: the same JSON, with what is not seen in its strings written out. */
export function printableJson(json: string): string {
  return json
    .split('\n')
    .map((line) =>
      line.replace(NOT_SHOWN, (character) =>
        character
          .split('')
          .map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
          .join(''),
      ),
    )
    .join('\n');
}

/** Whether every character of a text is seen, but for line breaks and tabs: what is taken as a label or a reason. */
export function isPlain(text: string): boolean {
  return isWellFormed(text) && !UNSEEN.test(text.replace(/[\n\t]/g, ''));
}

/** Whether nothing of a text is seen. */
export function isBlank(text: string): boolean {
  return text.replace(NOT_SHOWN, '').trim() === '';
}

function writtenOut(character: string): string {
  return `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`;
}
