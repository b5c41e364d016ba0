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
