import { isWellFormed } from './canonical.js';

/** Why bytes or a text are not taken. */
export type TextFault = 'text-not-utf8' | 'text-not-nfc';

/** A text that two programs, or two people, could read as different ones; the message says which and what to do. */
export class TextError extends Error {
  override readonly name = 'TextError';

  constructor(
    readonly code: TextFault,
    message: string,
  ) {
    super(message);
  }
}

/** What a decoder that guesses puts where it could not read: whoever sends it has lost what stood there. */
const REPLACEMENT = '\uFFFD';

/**
 * Whether a text is one that is written in one way only: Unicode Normalization Form C (UAX #15), without lone surrogates and
 * without U+FFFD. Rules compare texts letter by letter, so two spellings of one department would be two.
 */
export function isPlainText(text: string): boolean {
  return isWellFormed(text) && !text.includes(REPLACEMENT) && text === text.normalize('NFC');
}

/**
 * Bytes that people wrote, as text: UTF-8 (a byte order mark is left out), in Unicode NFC. Never guesses.
 * @param name what the text is called in the message, such as its path
 * @throws TextError
 */
export function decodeText(bytes: Uint8Array, name: string): string {
  const text = decodeUtf8(bytes, name);
  if (isPlainText(text)) return text;
  const line = text.split('\n').findIndex((each) => !isPlainText(each)) + 1;
  throw new TextError(
    'text-not-nfc',
    `${name}: line ${line} is not in Unicode NFC, or has U+FFFD in place of what was lost; save it as UTF-8 in NFC`,
  );
}

/**
 * Bytes that a program wrote, as text: UTF-8.
 * @throws TextError `text-not-utf8`
 */
export function decodeUtf8(bytes: Uint8Array, name: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw new TextError('text-not-utf8', `${name} is not UTF-8${whatElse(bytes)}; save it as UTF-8`);
  }
}

/** What bytes may be that are not UTF-8, as far as it shows. */
function whatElse(bytes: Uint8Array): string {
  const [first, second] = bytes;
  if ((first === 0xff && second === 0xfe) || (first === 0xfe && second === 0xff)) return ', but UTF-16';
  if (first === 0x1f && second === 0x8b) return ', but compressed by gzip';
  const decoder = new TextDecoder('utf-8', { fatal: true });
  let line = 1;
  // a line feed is no part of another character
  for (let start = 0; start < bytes.length; line += 1) {
    const end = bytes.indexOf(0x0a, start);
    try {
      decoder.decode(bytes.subarray(start, end < 0 ? bytes.length : end));
    } catch {
      return ` in line ${line}`;
    }
    if (end < 0) break;
    start = end + 1;
  }
  return '';
}

/**
 * Where in a JSON value, such as `principals[2].attributes.department`, a text stands that is not {@link isPlainText}; undefined when
 * all are. Escapes are read by then, which is why it is not enough to look at a file's bytes.
 */
export function unclearText(value: unknown): string | undefined {
  return findText(value, (text) => !isPlainText(text));
}

/** Where in a JSON value the first text stands, or name of a member, that is such; undefined when there is none. */
export function findText(value: unknown, isSuch: (text: string) => boolean, at = ''): string | undefined {
  if (typeof value === 'string') return isSuch(value) ? at : undefined;
  if (typeof value !== 'object' || value === null) return undefined;
  for (const [name, member] of Object.entries(value)) {
    const place = Array.isArray(value) ? `${at}[${name}]` : `${at}${at === '' ? '' : '.'}${name}`;
    if (isSuch(name)) return at === '' ? 'the name of a member' : `${at}, the name of a member`;
    const found = findText(member, isSuch, place);
    if (found !== undefined) return found;
  }
  return undefined;
}
