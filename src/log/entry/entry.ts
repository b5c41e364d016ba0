import { canonicalJson, parseCanonicalJson, type Json } from './canonical.js';
import { checkEntry, EntryError } from './entryForm.js';

export { EntryError } from './entryForm.js';

/**
 * Where an act stands. `attempted` is recorded before the token is used; exactly one of the others follows
 * it. A `denied` entry which carries a request or certificate of its own stands alone: the act was refused before any
 * attempt.
 */
export type Phase = 'attempted' | 'done' | 'denied' | 'failed';

/** One entry of the log. Its place in the tree is its index; the bytes do not repeat it. */
export interface Entry {
  /** 2 when the entry has a `certificate`, else 1. */
  readonly v: 1 | 2;
  /** When it was recorded: RFC 3339, UTC, milliseconds, `2026-01-31T23:59:59.999Z`. */
  readonly time: string;
  /** The name of the act, e.g. `key.generate`. */
  readonly act: string;
  /** The act's unique id, the same in its attempt and its outcome. */
  readonly id: string;
  readonly phase: Phase;
  /** Who acts; the same in an attempt and its outcome. */
  readonly actor: string;
  /** What the act is about. */
  readonly subject: Subject;
  /**
   * The compact JWS (RFC 7515 section 7.1) that the caller signed: on an attempt, or on a `denied` standing
   * alone.
   */
  readonly request?: string;
  /**
   * In place of a request: the client certificate by which an app was known, as base64url SHA-256 of its DER (`x5t#S256`,
   * RFC 8705 section 3.1). Nothing in the entry proves it.
   */
  readonly certificate?: string;
  /** The stable code of the error: on every `denied` and `failed`, nowhere else. */
  readonly error?: string;
  /** Facts of this act. Never key material or message content. */
  readonly detail: Readonly<Record<string, Json>>;
  /** SHA-256, lower-case hexadecimal, of what was done: on `done` only. */
  readonly digest?: string;
}

/** Ids of what an act is about; those that do not apply are absent. */
export interface Subject {
  readonly key?: string;
  /** Of an act about a recovery: all keys that it is about, each once, in ascending order. One has a list as well. */
  readonly keys?: readonly string[];
  readonly owner?: string;
  readonly recovery?: string;
  readonly grant?: string;
}

/** The longest entry in bytes: the uint16 length of a C2SP tlog-tiles entry bundle holds no more. */
export const maximumEntryBytes = 65_535;

/**
 * The bytes of an entry, which the tree hashes: canonical JSON (see {@link canonicalJson}) in UTF-8.
 * @throws EntryError when the entry breaks a rule of its format, TypeError when a value in it has no
 *   canonical form, RangeError when it is longer than {@link maximumEntryBytes}.
 */
export function encodeEntry(entry: Entry): Uint8Array {
  checkEntry(entry);
  const bytes = new TextEncoder().encode(canonicalJson(entry));
  if (bytes.length > maximumEntryBytes)
    throw new RangeError(`an entry has at most ${maximumEntryBytes} bytes`);
  return bytes;
}

/**
 * Reads an entry from exactly the bytes that {@link encodeEntry} makes of it.
 * @throws EntryError on anything else: not UTF-8, not JSON, another form of the same JSON, unknown or
 *   missing members, values that the format does not have.
 */
export function decodeEntry(bytes: Uint8Array): Entry {
  // Well-formed UTF-8 and text are one to one, so a text in canonical form means bytes in canonical form.
  return parseEntry(utf8Text(bytes), bytes.length);
}

/**
 * {@link decodeEntry} for who has decoded the UTF-8 already.
 * @param lengthBytes the length of that UTF-8
 */
export function parseEntry(text: string, lengthBytes: number): Entry {
  if (lengthBytes > maximumEntryBytes) throw new EntryError(`longer than ${maximumEntryBytes} bytes`);
  const value = canonicalValue(text);
  checkEntry(value);
  return value;
}

function utf8Text(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw new EntryError('not UTF-8', { cause });
  }
}

function canonicalValue(text: string): unknown {
  try {
    return parseCanonicalJson(text);
  } catch (cause) {
    throw new EntryError('not canonical JSON', { cause });
  }
}
