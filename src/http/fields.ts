import { z } from 'zod';

import { parseId, parsePrincipalId } from '../escrow/ids.js';
import { KEY_SPEC_NAMES } from '../escrow/keySpecs.js';
import { MECHANISM_NAMES } from '../escrow/mechanisms.js';
import { isWellFormed } from '../log/canonical.js';
import { decodeBase64url } from './base64url.js';
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
    .transform((text, context): T => {
      const value = parse(text);
      if (value !== undefined) return value;
      context.addIssue({ code: 'custom', message: `must be ${what}` });
      return z.NEVER;
    });
}

/** Ids of things, by kind. */
export const keyId = parsed(64, 'the id of a key', (text) => parseId('KeyId', text));
export const recoveryId = parsed(64, 'the id of a recovery', (text) => parseId('RecoveryId', text));
export const grantId = parsed(64, 'the id of a grant', (text) => parseId('GrantId', text));
export const principalId = parsed(64, 'the id of a principal', parsePrincipalId);

export const keySpec = z.enum(KEY_SPEC_NAMES);
export const keyUse = z.enum(['sign', 'decrypt']);
export const mechanism = z.enum(MECHANISM_NAMES);

/** Bytes as canonical base64url without padding. */
export function binary(bounds: {
  readonly minBytes: number;
  readonly maxBytes: number;
}): TextSchema<Uint8Array> {
  const { minBytes, maxBytes } = bounds;
  return parsed(Math.ceil((maxBytes * 4) / 3), `base64url of ${minBytes} to ${maxBytes} bytes`, (text) => {
    const bytes = decodeBase64url(text);
    return bytes !== undefined && bytes.length >= minBytes && bytes.length <= maxBytes ? bytes : undefined;
  });
}

/** An ISO 8601 duration within bounds, as milliseconds. */
export function duration(bounds: { readonly minMs: number; readonly maxMs: number }): TextSchema<number> {
  return parsed(64, 'an ISO 8601 duration such as P7D or PT1H, within bounds', (text) => {
    const ms = parseDuration(text);
    return ms !== undefined && ms >= bounds.minMs && ms <= bounds.maxMs ? ms : undefined;
  });
}

/** A text for people: well-formed, without control characters but line breaks and tabs. */
export function words(bounds: { readonly min: number; readonly max: number }): TextSchema<string> {
  return z
    .string()
    .min(bounds.min)
    .max(bounds.max)
    .refine((text) => isWellFormed(text) && !/[^\P{Cc}\n\t]/u.test(text), 'must be plain text');
}

/** At least one choice, none twice. */
export function distinct<T extends z.ZodType>(item: T, max: number): z.ZodType<readonly z.output<T>[]> {
  return z
    .array(item)
    .min(1)
    .max(max)
    .refine((items) => new Set(items).size === items.length, 'must not name anything twice');
}

/** Compact JWS: looked at closely only where it is verified. */
export const compactJws = z
  .string()
  .max(8192)
  .regex(/^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/);

/** A query parameter that is a count or an index. */
export function decimal(bounds: { readonly min: number; readonly max: number }): TextSchema<number> {
  return parsed(16, `an integer from ${bounds.min} to ${bounds.max}`, (text) => {
    const value = /^(?:0|[1-9][0-9]*)$/.test(text) ? Number(text) : NaN;
    return value >= bounds.min && value <= bounds.max ? value : undefined;
  });
}

/**
 * What is wrong, and where: `scope.maxUses: Too small: expected number to be >=1`. Of the value itself it tells only
 * names of members.
 */
export function firstIssue(error: z.ZodError): string {
  const [issue] = error.issues;
  if (issue === undefined) return 'not as described';
  const where = issue.path
    .map((step) => (typeof step === 'number' ? `[${step}]` : `.${String(step)}`))
    .join('');
  const sentence = where === '' ? issue.message : `${where.replace(/^\./, '')}: ${issue.message}`;
  return sentence.length > 300 ? `${sentence.slice(0, 300)}…` : sentence;
}
