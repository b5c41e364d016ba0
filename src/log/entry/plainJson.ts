/**
 * What JSON strings hold as it is (RFC 8785 section 3.2.2.2), as a class of a regular expression: no control characters,
 * and here no backslashes, so that every string ends at the next quotation mark; no surrogates, whose pairs are for a
 * closer look; no line separators.
 */
export const plainCharacters = '\\x20\\x21\\x23-\\x5b\\x5d-\\u2027\\u202a-\\ud7ff\\ue000-\\uffff';
const plain = new RegExp(`^["${plainCharacters}]*$`);

/** Objects and arrays inside each other that are looked into; what nests deeper is for a closer look. */
const depthLimit = 16;
/** So many digits never make more than 2^53 - 1. */
const digitLimit = 15;

/**
 * Whether a text is plainly in canonical form (see canonical.ts): nothing escaped, integers of few digits, little nesting.
 * Nearly all that is logged is such text, and this costs a fraction of reading it and writing it again. A text that it
 * accepts is canonical; one that it does not accept may be so all the same.
 */
export function isPlainJson(text: string): boolean {
  if (!plain.test(text)) return false;
  const scanner = new Scanner(text);
  return scanner.takeValue(0) && scanner.isAtEnd;
}

const quote = 0x22;
const comma = 0x2c;
const minus = 0x2d;
const zero = 0x30;
const colon = 0x3a;
const openBracket = 0x5b;
const closeBracket = 0x5d;
const letterF = 0x66;
const letterN = 0x6e;
const letterT = 0x74;
const openBrace = 0x7b;
const closeBrace = 0x7d;

/** Steps through a text of plain characters; each step says whether there was what it steps over. */
class Scanner {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  get isAtEnd(): boolean {
    return this.#at === this.#text.length;
  }

  takeValue(depth: number): boolean {
    switch (this.#text.charCodeAt(this.#at)) {
      case quote:
        return this.#takeString();
      case openBrace:
        return depth < depthLimit && this.#takeObject(depth);
      case openBracket:
        return depth < depthLimit && this.#takeArray(depth);
      case letterT:
        return this.#takeWord('true');
      case letterF:
        return this.#takeWord('false');
      case letterN:
        return this.#takeWord('null');
      default:
        return this.#takeInteger();
    }
  }

  /** Members stand in the order of their names (RFC 8785 section 3.2.3), and so none stands twice. */
  #takeObject(depth: number): boolean {
    this.#at += 1;
    if (this.#take(closeBrace)) return true;
    let before: string | undefined;
    do {
      const start = this.#at;
      if (!this.#takeString()) return false;
      const name = this.#text.slice(start + 1, this.#at - 1);
      if (before !== undefined && before >= name) return false;
      before = name;
      if (!this.#take(colon) || !this.takeValue(depth + 1)) return false;
    } while (this.#take(comma));
    return this.#take(closeBrace);
  }

  #takeArray(depth: number): boolean {
    this.#at += 1;
    if (this.#take(closeBracket)) return true;
    do {
      if (!this.takeValue(depth + 1)) return false;
    } while (this.#take(comma));
    return this.#take(closeBracket);
  }

  #takeString(): boolean {
    if (this.#text.charCodeAt(this.#at) !== quote) return false;
    const end = this.#text.indexOf('"', this.#at + 1);
    if (end === -1) return false;
    this.#at = end + 1;
    return true;
  }

  /** No leading zeros, and no zero with a sign. */
  #takeInteger(): boolean {
    const isNegative = this.#take(minus);
    const start = this.#at;
    while (isDigit(this.#text.charCodeAt(this.#at))) this.#at += 1;
    const digits = this.#at - start;
    if (this.#text.charCodeAt(start) === zero) return digits === 1 && !isNegative;
    return digits > 0 && digits <= digitLimit;
  }

  #takeWord(word: string): boolean {
    if (!this.#text.startsWith(word, this.#at)) return false;
    this.#at += word.length;
    return true;
  }

  #take(character: number): boolean {
    if (this.#text.charCodeAt(this.#at) !== character) return false;
    this.#at += 1;
    return true;
  }
}

function isDigit(character: number): boolean {
  return character >= zero && character <= zero + 9;
}
