/**
 * Whether what is signed for `aud` (RFC 7519 section 4.1.3) is for the log with this key: `aud` is its C2SP verifier key. Its name
 * alone is taken as well: what was signed by clients of the version before, and what stands in logs from then, has that.
 */
export function isForLog(aud: unknown, vkey: string): boolean {
  return aud === vkey || aud === vkey.slice(0, vkey.indexOf('+'));
}
