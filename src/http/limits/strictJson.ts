import { type Json, isWellFormed } from '../../log/entry/canonical.js';

/** How deep arrays and objects may nest. */
export const MAX_DEPTH = 32;

/** These bytes are not JSON as strict as this; the message says why, and may be told to whoever sent them. */
export class JsonError extends Error {
  override readonly name = 'JsonError';
}

/**
 * Reads JSON (RFC 8259) that every reader understands alike (RFC 7493), and a little less: well-formed UTF-8 without
 * a byte order mark, no member twice in an object, no member called `__proto__`, no lone surrogates, at most
 * {@link MAX_DEPTH} levels, and of numbers only safe integers, written without fraction or exponent. What it accepts
 * it reads as JSON.parse does.
 *
 * @throws JsonError
 */
export function parseStrictJson(bytes: Uint8Array | string): Json {
  const text = typeof bytes === 'string' ? bytes : decodeUtf8(bytes);
  const reader = new Reader(text);
  const value = reader.value(0);
  reader.end();
  return value;
}

function decodeUtf8(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw new JsonError('not UTF-8', { cause });
  }
}

const SPACE = /[ \t\n\r]*/y;
const INTEGER = /-?(?:0|[1-9][0-9]*)/y;
const LITERALS = { true: true, false: false, null: null } as const;

/** Whether the character at this place stands behind an odd number of backslashes, looking no further back than `from`. */
function isEscaped(text: string, at: number, from: number): boolean {
  let before = at - 1;
  while (before > from && text[before] === '\\') before -= 1;
  return (at - 1 - before) % 2 === 1;
}

/** A recursive descent over the text (RFC 8259 section 2); `#at` is always the next character to read. */
class Reader {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  value(depth: number): Json {
    this.#match(SPACE);
    const start = this.#text[this.#at];
    let value: Json;
    if (start === '{') value = this.#object(depth + 1);
    else if (start === '[') value = this.#array(depth + 1);
    else if (start === '"') value = this.#string();
    else value = this.#literalOrInteger();
    this.#match(SPACE);
    return value;
  }

  end(): void {
    if (this.#at !== this.#text.length) this.#fail('something follows the value');
  }

  #object(depth: number): Json {
    const members: Record<string, Json> = {};
    this.#list(depth, '}', () => {
      this.#match(SPACE);
      if (this.#text[this.#at] !== '"') this.#fail('a member has no name');
      const name = this.#string();
      if (name === '__proto__') this.#fail('a member must not have this name');
      if (Object.hasOwn(members, name)) this.#fail('a member stands twice');
      this.#match(SPACE);
      if (!this.#take(':')) this.#fail('a member has no value');
      members[name] = this.value(depth);
    });
    return members;
  }

  #array(depth: number): Json {
    const items: Json[] = [];
    this.#list(depth, ']', () => items.push(this.value(depth)));
    return items;
  }

  /** What stands between brackets, separated by commas; `one` reads up to the next comma or bracket. */
  #list(depth: number, close: string, one: () => void): void {
    if (depth > MAX_DEPTH) this.#fail(`more than ${MAX_DEPTH} levels`);
    this.#at += 1;
    this.#match(SPACE);
    if (this.#take(close)) return;
    do one();
    while (this.#take(','));
    if (!this.#take(close)) this.#fail(`no , or ${close}`);
  }

  /** Finds the closing quote; JSON.parse then judges what lies between. */
  #string(): string {
    const start = this.#at;
    this.#at += 1;
    for (;;) {
      const quote = this.#text.indexOf('"', this.#at);
      if (quote < 0) {
        this.#at = this.#text.length;
        this.#fail('a string has no end');
      }
      this.#at = quote + 1;
      if (!isEscaped(this.#text, quote, start)) break;
    }
    const value = this.#judge(this.#text.slice(start, this.#at));
    if (!isWellFormed(value)) this.#fail('a string has a lone surrogate');
    return value;
  }

  #judge(quoted: string): string {
    try {
      return JSON.parse(quoted) as string;
    } catch {
      return this.#fail('malformed string');
    }
  }

  #literalOrInteger(): Json {
    for (const [name, value] of Object.entries(LITERALS)) {
      if (this.#take(name)) return value;
    }
    const digits = this.#match(INTEGER);
    if (digits === '') this.#fail('no value');
    const value = Number(digits);
    const hasMore = /[.eE]/.test(this.#text[this.#at] ?? '');
    if (hasMore || !Number.isSafeInteger(value) || Object.is(value, -0)) this.#fail('not a safe integer');
    return value;
  }

  #take(token: string): boolean {
    if (!this.#text.startsWith(token, this.#at)) return false;
    this.#at += token.length;
    return true;
  }

  #match(pattern: RegExp): string {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text)?.[0] ?? '';
    this.#at += found.length;
    return found;
  }

  #fail(why: string): never {
    throw new JsonError(`${why} (at character ${this.#at})`);
  }
}
