import { z } from 'zod';

/*
 * How replies are read. A server promises, and its tests hold it to, one exact form; a client takes that form from servers
 * of another version as well.
 */

/** What a newer server may say where this version knows a few words: kept as it came, and equal to none of them. */
export type Unrecognized = string & z.core.$brand<'Unrecognized'>;

/** Whether this version knows the word. */
export function isKnown<T extends string>(words: readonly T[], word: T | Unrecognized): word is T {
  return (words as readonly string[]).includes(word);
}

/** The parts that a reply is put together of. The types that they give are those of the tolerant reading. */
export interface Reading {
  readonly object: <S extends z.core.$ZodLooseShape>(shape: S) => z.ZodObject<S>;
  readonly list: <T>(item: z.ZodType<T>, max: number) => z.ZodType<readonly T[]>;
  readonly text: (max: number) => z.ZodString;
  /** One of these words. */
  readonly oneOf: <const T extends string>(words: readonly T[]) => z.ZodType<T | Unrecognized>;
  /** The only word that there is for now. */
  readonly only: <const T extends string>(word: T) => z.ZodType<T | Unrecognized>;
  /** The names that this version knows: what it does not know it cannot use. */
  readonly known: <const T extends string>(names: readonly T[], max: number) => z.ZodType<readonly T[]>;
  /** The version of a form: one of these, in ascending order. */
  readonly version: (versions: readonly number[]) => z.ZodType<number>;
  /** A member that servers of before do not send. */
  readonly newer: <T extends z.ZodType>(member: T) => z.ZodExactOptional<T>;
  /** base64url without padding, RFC 4648 section 5. */
  readonly binary: z.ZodType<string>;
  /** RFC 4648 section 4. */
  readonly base64: z.ZodType<string>;
  readonly instant: z.ZodType<string>;
  /** ISO 8601, such as `PT1H`. */
  readonly period: z.ZodType<string>;
  /** The id of a person or an app. */
  readonly principal: z.ZodType<string>;
  /** Who suffices: the members of each quorum. */
  readonly quorums: z.ZodType<readonly (readonly string[])[]>;
  /** SHA-256. */
  readonly hex256: z.ZodType<string>;
  /** The id of a thing, by what it begins with. */
  readonly id: (prefix: string) => z.ZodType<string>;
  /** A directory document as administrators signed it; its own form is that of the policy. */
  readonly document: z.ZodType;
}

/** In a quorum, and quorums of a key. */
export const MAX_PEOPLE = 64;
const MAX_OUTPUT_CHARACTERS = 512 * 1024;
const BASE64URL = /^[A-Za-z0-9_-]*$/;

const principal = z
  .string()
  .regex(/^[a-z0-9][a-z0-9._-]{0,63}$/)
  .max(64);

/** What openapi.json promises: every object is closed, and every length bounded. */
export const strictly: Reading = {
  object: (shape) => z.strictObject(shape),
  list: (item, max) => z.array(item).max(max).readonly(),
  text: (max) => z.string().max(max),
  oneOf: (words) => z.enum(words),
  only: (word) => z.literal(word).meta({ type: 'string', enum: [word] }),
  known: (names, max) => z.array(z.enum(names)).max(max).readonly(),
  version: (versions) =>
    z
      .literal(versions)
      .meta({ type: 'integer', minimum: Math.min(...versions), maximum: Math.max(...versions) }),
  // always there: a narrower form than the type says
  newer: <T extends z.ZodType>(member: T) => member as z.ZodType as z.ZodExactOptional<T>,
  binary: z.string().max(MAX_OUTPUT_CHARACTERS).regex(BASE64URL),
  base64: z
    .string()
    .max(64)
    .regex(/^[A-Za-z0-9+/=]*$/),
  instant: z
    .string()
    .max(24)
    .regex(/^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$/)
    .meta({ format: 'date-time' }),
  period: z
    .string()
    .max(32)
    .regex(/^P[0-9DTHMSW]+$/),
  principal,
  quorums: z.array(z.array(principal).max(MAX_PEOPLE)).max(MAX_PEOPLE).readonly(),
  hex256: z
    .string()
    .regex(/^[0-9a-f]{64}$/)
    .max(64),
  id: (prefix) =>
    z
      .string()
      .max(prefix.length + 33)
      .regex(new RegExp(`^${prefix}_[0-9a-f]{32}$`)),
  document: z.record(z.string().max(64), z.unknown()),
};

const anyText = z.string();
const anyWord = <const T extends string>(words: readonly T[]): z.ZodType<T | Unrecognized> =>
  z.union([z.enum(words), z.string().brand<'Unrecognized'>()]);

/**
 * What a client takes: members that this version does not know are left out, and what it cannot check anyway is only a text.
 * A word that it does not know costs no answer.
 */
export const tolerantly: Reading = {
  object: (shape) => z.object(shape),
  list: (item) => z.array(item).readonly(),
  text: () => anyText,
  oneOf: anyWord,
  only: (word) => anyWord([word]),
  known: (names) => z.array(anyText).transform((said) => names.filter((name) => said.includes(name))),
  version: () => z.int(),
  newer: (member) => z.exactOptional(member),
  binary: anyText.regex(BASE64URL),
  base64: anyText,
  instant: z.iso.datetime(),
  period: anyText,
  principal: anyText,
  quorums: z.array(z.array(anyText)).readonly(),
  hex256: anyText,
  id: () => anyText,
  document: z.unknown(),
};
