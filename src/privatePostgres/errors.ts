/** Why the private cluster could not be had. */
export type ClusterErrorCode =
  | 'in-use'
  | 'no-binaries'
  | 'binaries-too-old'
  | 'version-mismatch'
  | 'no-user'
  | 'unreachable'
  | 'damaged'
  | 'initialise-failed'
  | 'start-failed'
  | 'stop-failed';

/** The private cluster could not be prepared, started or stopped. The message is for the operator: it names paths. */
export class ClusterError extends Error {
  readonly code: ClusterErrorCode;

  constructor(code: ClusterErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'ClusterError';
    this.code = code;
  }
}

/** Another daemon runs on the same directory. Nothing of it was touched. */
export class ClusterInUse extends ClusterError {
  readonly directory: string;

  constructor(directory: string) {
    super('in-use', `another daemon is using the PostgreSQL cluster of ${directory}`);
    this.name = 'ClusterInUse';
    this.directory = directory;
  }
}

/** The `code` of a system or database error ('ENOENT', '28P01'), if it has one. */
export function errorCode(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}

/** What an error says; errors of node itself may come from another realm and are no `Error` here. */
export function errorMessage(error: unknown): string {
  const message = typeof error === 'object' && error !== null && 'message' in error ? error.message : error;
  return String(message);
}
