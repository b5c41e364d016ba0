import { EscrowError } from '../escrow/records/errors.js';
import type { Page } from '../escrow/ports/store.js';
import { jsonOrUndefined } from '../system/json.js';

/** Where a page ends: what the list is ordered by. Numbers are milliseconds or indexes. */
export type Position = readonly (number | string)[];

/**
 * Reads what {@link pageOf} gave as `next`: as many parts as `shape`, of its types. Throws EscrowError `request-malformed`
 * on anything else.
 */
export function readCursor<const Shape extends Position>(
  cursor: string | undefined,
  shape: Shape,
): { readonly [At in keyof Shape]: Shape[At] extends number ? number : string } | undefined {
  if (cursor === undefined) return undefined;
  const position = jsonOrUndefined(Buffer.from(cursor, 'base64url').toString('utf8'));
  const fits =
    Array.isArray(position) &&
    position.length === shape.length &&
    position.every(
      (part, at) =>
        typeof part === typeof shape[at] && (typeof part === 'number' ? isInstant(part) : isId(part)),
    );
  if (!fits) throw new EscrowError('request-malformed', 'The cursor is not one that was given out.');
  return position as { readonly [At in keyof Shape]: Shape[At] extends number ? number : string };
}

/** The page that these rows begin with, one of which is more than `limit` when there is a next page. */
export function pageOf<Row, T>(
  rows: readonly Row[],
  limit: number,
  to: { readonly item: (row: Row) => T; readonly position: (row: Row) => Position },
): Page<T> {
  const shown = rows.slice(0, limit);
  const last = rows.length > limit ? shown.at(-1) : undefined;
  return {
    items: shown.map(to.item),
    next:
      last === undefined ? undefined : Buffer.from(JSON.stringify(to.position(last))).toString('base64url'),
  };
}

/** Without what PostgreSQL takes in no text, such as NUL. */
function isId(value: unknown): boolean {
  return typeof value === 'string' && /^[\x21-\x7e]*$/.test(value);
}

/** Milliseconds of the years 1970 to 9999, as ISO 8601 and PostgreSQL write them alike; indexes are far below. */
function isInstant(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0 && value <= 253_402_300_799_999;
}
