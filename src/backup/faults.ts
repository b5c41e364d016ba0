/** A backup could not be made, read or restored. The message is a sentence for the operator that names files. */
export class BackupError extends Error {
  override readonly name = 'BackupError';
}
