import { types } from 'node:util';

/** The `code` of an error of Node (`ENOENT`, `ECONNREFUSED`, ...); undefined when it has none. */
export function errorCodeOf(error: unknown): string | undefined {
  // instanceof would not know errors of another realm
  return types.isNativeError(error) && 'code' in error && typeof error.code === 'string'
    ? error.code
    : undefined;
}
