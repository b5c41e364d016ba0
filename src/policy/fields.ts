import { z } from 'zod';

import { isBlank, isPlain } from '../escrow/records/freeText.js';
import { type PrincipalId, parsePrincipalId } from '../escrow/records/ids.js';
import { KEY_SPEC_NAMES, KEY_USES, OPERATIONS } from '../escrow/records/keySpecs.js';
import { MECHANISM_NAMES } from '../escrow/records/mechanisms.js';
import type { Rate } from '../escrow/records/rate.js';
import { isWellFormed } from '../log/entry/canonical.js';
import { isPlainText } from '../log/entry/plainText.js';
import { parseDuration } from './durations.js';

/** A schema that takes a text and yields what it says. */
export type TextSchema<T> = z.ZodType<T, string>;

/** Takes what `parse` knows, and refuses the rest: it must be `what`. */
export function parsed<T>(
  maxCharacters: number,
  what: string,
  parse: (text: string) => T | undefined,
): TextSchema<T> {
  return z
    .string()
    .max(maxCharacters)
    .meta({ description: `must be ${what}` })
    .transform((text, context): T => {
      const value = parse(text);
      if (value !== undefined) return value;
      context.addIssue({ code: 'custom', message: `must be ${what}` });
      return z.NEVER;
    });
}

/*
 * What `parse` knows a JSON Schema cannot see: `meta` says as much of it as a pattern can, for openapi.json.
 */

export const principalId: TextSchema<PrincipalId> = parsed(
  64,
  'the id of a principal',
  parsePrincipalId,
).meta({
  pattern: '^[a-z0-9][a-z0-9._-]{0,63}$',
});
export const keySpec = z.enum(KEY_SPEC_NAMES);
export const keyUse = z.enum(KEY_USES);
export const operation = z.enum(OPERATIONS);
export const mechanism = z.enum(MECHANISM_NAMES);

/** An ISO 8601 duration within bounds, as milliseconds. */
export function duration(bounds: { readonly minMs: number; readonly maxMs: number }): TextSchema<number> {
  return parsed(64, 'an ISO 8601 duration such as P7D or PT1H, within bounds', (text) => {
    const ms = parseDuration(text);
    return ms !== undefined && ms >= bounds.minMs && ms <= bounds.maxMs ? ms : undefined;
  }).meta({ pattern: '^P[0-9DTHMSW]+$' });
}

/** At most so many uses in any stretch of time of this length. */
export const rate = z
  .strictObject({
    uses: z.int().min(1).max(1_000_000_000),
    per: duration({ minMs: 1000, maxMs: 366 * 24 * 60 * 60 * 1000 }),
  })
  .transform(({ uses, per }): Rate => ({ uses, perMs: per }));

/** A text for people: well-formed, without control characters but line breaks and tabs. */
export function words(bounds: { readonly min: number; readonly max: number }): TextSchema<string> {
  return z
    .string()
    .min(bounds.min)
    .max(bounds.max)
    .refine((text) => isWellFormed(text) && !/[^\P{Cc}\n\t]/u.test(text), 'must be plain text')
    .meta({ pattern: '^[^\\u0000-\\u0008\\u000b-\\u001f\\u007f-\\u009f]*$' });
}

/**
 * The same, and written in one way only: what people type from now on. Every character is seen; where it must say something, it
 * does.
 */
export function newWords(bounds: { readonly min: number; readonly max: number }): TextSchema<string> {
  return words(bounds)
    .refine(isPlainText, 'must be in Unicode NFC, without U+FFFD')
    .refine(isPlain, 'must be plain text, without characters that are not seen')
    .refine((text) => (bounds.min === 0 && text === '') || !isBlank(text), 'must say something');
}

/** At least one choice, none twice. */
export function distinct<T extends z.ZodType>(
  item: T,
  max: number,
): z.ZodType<readonly z.output<T>[], readonly z.input<T>[]> {
  return z
    .array(item)
    .min(1)
    .max(max)
    .refine((items) => new Set(items).size === items.length, 'must not name anything twice');
}

/**
 * What is wrong, and where: `scope.maxUses: Too small: expected number to be >=1`. Never the value itself. Of a choice between
 * forms, what is wrong by those that it comes nearest to.
 */
export function issueInWords(issue: z.core.$ZodIssue): string {
  const sentence = inWords(issue, []);
  return sentence.length > 300 ? `${sentence.slice(0, 300)}…` : sentence;
}

function inWords(issue: z.core.$ZodIssue, within: readonly PropertyKey[]): string {
  const path = [...within, ...issue.path];
  if (issue.code === 'invalid_union' && issue.errors.length > 0) {
    const wrongMembers = issue.errors.map(
      (issues) => new Set(issues.map(({ path: [member] }) => member)).size,
    );
    const fewest = Math.min(...wrongMembers);
    const nearest = issue.errors.flatMap((issues, at) =>
      wrongMembers[at] === fewest ? issues.slice(0, 1) : [],
    );
    return [...new Set(nearest.map((one) => inWords(one, path)))].join(', or ');
  }
  const [first] = issue.code === 'invalid_key' ? issue.issues : [];
  if (first !== undefined) return inWords(first, path);
  const where = path.map((step) => (typeof step === 'number' ? `[${step}]` : `.${String(step)}`)).join('');
  return where === '' ? issue.message : `${where.replace(/^\./, '')}: ${issue.message}`;
}
