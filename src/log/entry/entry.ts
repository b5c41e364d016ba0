import { canonicalJson, isJsonObject, parseCanonicalJson, type Json } from './canonical.js';

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

/** These bytes, or this value, are not an entry; the message says why. */
export class EntryError extends Error {
  override readonly name = 'EntryError';
}

const subjectIds = ['key', 'owner', 'recovery', 'grant'];
const subjectMembers = [...subjectIds, 'keys'];
const requiredMembers = ['v', 'time', 'act', 'id', 'phase', 'actor', 'subject', 'detail'];

/** Which members an entry of version 1 may and must have in each phase. */
const rules = {
  attempted: { may: [...requiredMembers, 'request'], must: requiredMembers },
  done: { may: [...requiredMembers, 'digest'], must: requiredMembers },
  denied: { may: [...requiredMembers, 'request', 'error'], must: [...requiredMembers, 'error'] },
  failed: { may: [...requiredMembers, 'error'], must: [...requiredMembers, 'error'] },
} as const satisfies Record<Phase, Members>;

const ofAttempt = [...requiredMembers, 'certificate'];
const ofDenial = [...ofAttempt, 'error'];
/** The same of an entry of version 2, which exists for what has a certificate. */
const rulesOfVersion2: Partial<Record<Phase, Members>> = {
  attempted: { may: ofAttempt, must: ofAttempt },
  denied: { may: ofDenial, must: ofDenial },
};

interface Members {
  readonly may: readonly string[];
  readonly must: readonly string[];
}

const timePattern = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$/;
/** RFC 7515 section 7.1. */
const jwsPattern = /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/;
/** 32 bytes in base64url, without stray bits. */
const certificatePattern = /^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$/;
const digestPattern = /^[0-9a-f]{64}$/;

/** @throws EntryError unless this value, which has a canonical form, is an entry. */
function checkEntry(value: unknown): asserts value is Entry {
  if (!isJsonObject(value)) throw new EntryError('not an object');
  const { v, time, phase, subject, detail } = value;
  if (v !== 1 && v !== 2) throw new EntryError('of no known version');
  if (!isPhase(phase)) throw new EntryError('has an unknown phase');
  const members = v === 1 ? rules[phase] : rulesOfVersion2[phase];
  if (members === undefined) throw new EntryError(`${phase} is never of version 2`);
  checkMembers(value, members.may, members.must);
  if (typeof time !== 'string' || !isTime(time))
    throw new EntryError('its time is not RFC 3339 UTC in milliseconds');
  if (!isJsonObject(subject)) throw new EntryError('its subject is not an object');
  checkMembers(subject, subjectMembers, []);
  if (!isJsonObject(detail)) throw new EntryError('its detail is not an object');
  for (const name of ['act', 'id', 'actor']) checkString(name, value[name], /./);
  for (const name of subjectIds) if (name in subject) checkString(`subject.${name}`, subject[name], /./);
  if ('keys' in subject && !isAscending(subject['keys']))
    throw new EntryError('its subject.keys is malformed');
  if ('request' in value) checkString('request', value['request'], jwsPattern);
  if ('certificate' in value) checkString('certificate', value['certificate'], certificatePattern);
  if ('error' in value) checkString('error', value['error'], /./);
  if ('digest' in value) checkString('digest', value['digest'], digestPattern);
}

function checkMembers(value: object, may: readonly string[], must: readonly string[]): void {
  const unknown = Object.keys(value).find((name) => !may.includes(name));
  if (unknown !== undefined) throw new EntryError(`must not have the member ${JSON.stringify(unknown)} here`);
  const missing = must.find((name) => !Object.hasOwn(value, name));
  if (missing !== undefined) throw new EntryError(`lacks the member ${JSON.stringify(missing)}`);
}

function checkString(name: string, value: unknown, pattern: RegExp): void {
  if (typeof value !== 'string' || !pattern.test(value)) throw new EntryError(`its ${name} is malformed`);
}

/** Some strings, each once, in ascending order. */
function isAscending(value: unknown): boolean {
  if (!Array.isArray(value) || value.length === 0) return false;
  const items: readonly unknown[] = value;
  return items.every((item, at) => {
    const before = items[at - 1];
    return typeof item === 'string' && item !== '' && (typeof before !== 'string' || before < item);
  });
}

function isPhase(value: unknown): value is Phase {
  return typeof value === 'string' && Object.hasOwn(rules, value);
}

/** RFC 3339 in UTC, with milliseconds. A day or an hour that does not exist becomes another, and a leap second none. */
function isTime(text: string): boolean {
  if (!timePattern.test(text)) return false;
  const time = new Date(text);
  return !Number.isNaN(time.getTime()) && time.toISOString() === text;
}
