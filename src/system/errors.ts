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

/** What a code of the file system says, for whoever named the file; the code itself where it says nothing to them. */
export function fileReason(error: unknown): string {
  const code = codeOf(error) ?? 'unknown';
  return Object.hasOwn(FILE_REASONS, code) ? (FILE_REASONS[code] ?? code) : code;
}

const FILE_REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file or directory',
  EEXIST: 'it exists already, and is not overwritten',
  EACCES: 'no permission',
  EPERM: 'it is not permitted',
  EISDIR: 'it is a directory',
  ENOTDIR: 'a part of the path is not a directory',
  ENOTEMPTY: 'the directory is not empty',
  ELOOP: 'the symbolic links lead nowhere',
  ENAMETOOLONG: 'the name is too long',
  EROFS: 'it can only be read there',
  ENOSPC: 'the disk is full',
  EDQUOT: 'the quota of the disk is used up',
  ENOTSUP: 'no files are kept there',
  EFBIG: 'it is too large',
  EIO: 'the disk does not answer',
  EMFILE: 'too many files are open',
  ENFILE: 'too many files are open',
  ENXIO: 'nothing is behind it',
  EPIPE: 'nobody reads it any more',
};
