/**
 * A value that {@link canonicalJson} can write. Numbers are safe integers; strings are well-formed Unicode.
 */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [member: string]: Json };

/** Whether this is an object, and no array. */
export function isJsonObject(value: Json | undefined): value is Readonly<Record<string, Json>>;
export function isJsonObject(value: unknown): value is Readonly<Record<string, unknown>>;
export function isJsonObject(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/**
 * The canonical JSON text of `value`: RFC 8785 (JCS), restricted so that every value has exactly one text
 * and every text that is written can be read back by any JSON parser without loss.
 *
 * Accepted: null, booleans, strings without lone surrogates (RFC 8785 section 3.2.2.2), safe integers
 * (section 3.2.2.3; there are no fractions or exponents here), arrays without holes, and plain objects,
 * whose members are sorted by UTF-16 code units (section 3.2.3). The text is to be encoded as UTF-8
 * (section 3.2.4).
 *
 * @throws TypeError on anything else: `undefined` (also as a member's value), fractions, integers beyond
 *   2^53 - 1, class instances, functions, symbols, or nesting deeper than {@link maximumDepth}.
 */
export function canonicalJson(value: unknown): string {
  return write(value, 0);
}

/**
 * The value of a text that is exactly what {@link canonicalJson} writes for it. Duplicate members, spaces,
 * another order and other spellings of a string or number are therefore refused.
 * @throws SyntaxError on any other text.
 */
export function parseCanonicalJson(text: string): Json {
  const value = JSON.parse(text) as Json;
  // JSON.stringify writes a lone surrogate as an escape
  const isCanonical =
    (isPlainlyOrdered(value) && !text.includes('\\ud') && JSON.stringify(value) === text) ||
    canonicalOrUndefined(value) === text;
  if (!isCanonical) throw new SyntaxError('not in canonical form');
  return value;
}

/** How deep arrays and objects may nest. It also ends the walk through a value that contains itself. */
export const maximumDepth = 64;

/** Whether `text` is well-formed Unicode, that is, has no surrogate without its partner. */
export function isWellFormed(text: string): boolean {
  return !/\p{Surrogate}/u.test(text);
}

/**
 * Whether JSON.stringify writes this value as {@link canonicalJson} does, lone surrogates apart: members in order, integers,
 * little nesting. Nearly all that is logged is so, and then the text need not be written by us.
 */
function isPlainlyOrdered(value: Json, depth = 0): boolean {
  if (typeof value === 'number') return Number.isSafeInteger(value);
  if (typeof value !== 'object' || value === null) return true;
  if (depth === maximumDepth) return false;
  if (isArray(value)) return value.every((item) => isPlainlyOrdered(item, depth + 1));
  let before = '';
  return Object.entries(value).every(([name, member]) => {
    const isNext = before <= name && isPlainlyOrdered(member, depth + 1);
    before = name;
    return isNext;
  });
}

/** Array.isArray, which TypeScript does not take for an answer about readonly arrays. */
function isArray(value: object): value is readonly Json[] {
  return Array.isArray(value);
}

function canonicalOrUndefined(value: Json): string | undefined {
  try {
    return canonicalJson(value);
  } catch (error) {
    if (error instanceof TypeError) return undefined;
    throw error;
  }
}

function write(value: unknown, depth: number): string {
  if (depth > maximumDepth) throw new TypeError(`canonical JSON nests at most ${maximumDepth} deep`);
  if (value === null) return 'null';
  if (typeof value === 'boolean') return String(value);
  if (typeof value === 'string') return writeString(value);
  if (typeof value === 'number') return writeInteger(value);
  if (Array.isArray(value)) return writeArray(value, depth);
  if (typeof value === 'object') return writeObject(value, depth);
  throw new TypeError(`canonical JSON has no ${typeof value}`);
}

/** The characters that a JSON string holds as they are: most strings have no others, and are written fast. */
const plainAscii = /^[\x20\x21\x23-\x5b\x5d-\x7e]*$/;

/** RFC 8785 section 3.2.2.2 is what ECMAScript's JSON.stringify does, but for lone surrogates. */
function writeString(text: string): string {
  if (plainAscii.test(text)) return `"${text}"`;
  if (!isWellFormed(text)) throw new TypeError('canonical JSON has no lone surrogates');
  return JSON.stringify(text);
}

/** `-0` is written as `0`, as RFC 8785 section 3.2.2.3 (ECMAScript Number::toString) has it. */
function writeInteger(value: number): string {
  if (!Number.isSafeInteger(value)) throw new TypeError('numbers in canonical JSON are safe integers');
  return String(value);
}

/** `Array.from` turns holes into `undefined`, which is refused; `map` would skip them. */
function writeArray(items: readonly unknown[], depth: number): string {
  return `[${Array.from(items, (item) => write(item, depth + 1)).join(',')}]`;
}

/** The default order of `sort` is that of UTF-16 code units, as RFC 8785 section 3.2.3 asks. */
function writeObject(value: object, depth: number): string {
  if (!isPlain(value)) throw new TypeError('objects in canonical JSON are plain');
  let text = '';
  for (const name of Object.keys(value).sort()) {
    text += `${text === '' ? '' : ','}${writeString(name)}:${write(value[name], depth + 1)}`;
  }
  return `{${text}}`;
}

/** A literal, or what JSON.parse makes, of any realm: its prototype is null or an Object.prototype. */
function isPlain(value: object): value is Readonly<Record<string, unknown>> {
  const prototype: unknown = Object.getPrototypeOf(value);
  const plain = prototype === null || Object.getPrototypeOf(prototype) === null;
  return plain && Object.getOwnPropertySymbols(value).length === 0;
}
