/**
 * The `code` of an error of the system or a server (`ENOENT`, `ECONNREFUSED`, `28P01`), when it has one. Not by instanceof:
 * errors of Node may be of another realm.
 */
export function codeOf(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}

/** What an error says, for operators; its code where it says nothing. */
export function messageOf(error: unknown): string {
  if (typeof error !== 'object' || error === null || !('message' in error)) return String(error);
  return String(error.message) || (codeOf(error) ?? 'unknown');
}
