import { z } from 'zod';

import { parseId } from '../escrow/records/ids.js';
import { type TextSchema, issueInWords, parsed } from '../policy/fields.js';
import { decodeBase64url } from '../log/note/base64.js';

/** The key of metadata that is the whole JSON Schema of a field, where what is read is not what it means. */
export const AS_SENT = 'asSent';

/*
 * What `parse` knows a JSON Schema cannot see: `meta` says as much of it as a pattern can. openapi.json has it, and a
 * test holds every text to have one.
 */

/** Ids of things, by kind. */
export const keyId = parsed(64, 'the id of a key', (text) => parseId('KeyId', text)).meta(idPattern('key'));
export const recoveryId = parsed(64, 'the id of a recovery', (text) => parseId('RecoveryId', text)).meta(
  idPattern('rec'),
);
export const grantId = parsed(64, 'the id of a grant', (text) => parseId('GrantId', text)).meta(
  idPattern('grant'),
);

export const jobId = parsed(64, 'the id of a job', (text) => parseId('JobId', text)).meta(idPattern('job'));
export const importId = parsed(64, 'the id of an import key', (text) => parseId('ImportId', text)).meta(
  idPattern('imp'),
);

function idPattern(prefix: string): { readonly pattern: string } {
  return { pattern: `^${prefix}_[0-9a-f]{32}$` };
}

/** Bytes as canonical base64url without padding. */
export function binary(bounds: {
  readonly minBytes: number;
  readonly maxBytes: number;
}): TextSchema<Uint8Array> {
  const { minBytes, maxBytes } = bounds;
  return parsed(Math.ceil((maxBytes * 4) / 3), `base64url of ${minBytes} to ${maxBytes} bytes`, (text) => {
    const bytes = decodeBase64url(text);
    return bytes !== undefined && bytes.length >= minBytes && bytes.length <= maxBytes ? bytes : undefined;
  }).meta({ pattern: '^[A-Za-z0-9_-]*$', minLength: Math.ceil((minBytes * 4) / 3) });
}

/** An instant as it stands in entries of the log: RFC 3339, UTC, with milliseconds. */
export const instant = parsed(24, 'an instant such as 2026-01-31T23:59:59.999Z', (text) => {
  const date = new Date(text);
  return !Number.isNaN(date.getTime()) && date.toISOString() === text ? text : undefined;
}).meta({ pattern: '^\\d{4}-\\d{2}-\\d{2}T\\d{2}:\\d{2}:\\d{2}\\.\\d{3}Z$' });

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
  }).meta({ [AS_SENT]: { type: 'integer', minimum: bounds.min, maximum: bounds.max } });
}

/** What is wrong first, and where. Of the value itself it tells only names of members. */
export function firstIssue(error: z.ZodError): string {
  const [issue] = error.issues;
  return issue === undefined ? 'not as described' : issueInWords(issue);
}
