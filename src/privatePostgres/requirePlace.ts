import { codeOf, fileReason, messageOf } from '../system/errors.js';
import { type FileSystem, type Place, placeOf, UnusablePlace } from '../system/place.js';
import { ClusterError } from './errors.js';

/** So much has to be free: a new cluster has some 45 MB, and PostgreSQL adds to its write-ahead log 16 MiB at a time. */
export const CLUSTER_BYTES = 64 * 1024 * 1024;

/**
 * The place of a cluster's directory, which is there or is to be made.
 *
 * @throws ClusterError `unreachable` when nothing can be kept there
 */
export function requirePlace(directory: string, fileSystemAt?: (path: string) => FileSystem): Place {
  try {
    return placeOf(directory, fileSystemAt);
  } catch (error) {
    if (!(error instanceof UnusablePlace)) throw error;
    throw new ClusterError('unreachable', `${directory} cannot be used: ${error.message}; ${error.remedy}`, {
      cause: error,
    });
  }
}

/** @throws ClusterError `unreachable` when a cluster that is to be made, or started, has not enough room there */
export function requireRoom(directory: string, { freeBytes }: Place): void {
  if (freeBytes >= CLUSTER_BYTES) return;
  const inMiB = (bytes: number): number => Math.floor(bytes / (1024 * 1024));
  throw new ClusterError(
    'unreachable',
    `${directory} has room for ${inMiB(freeBytes)} MiB, and a cluster needs ${inMiB(CLUSTER_BYTES)} MiB; make room there, or name another directory`,
  );
}

/** What the system says of a cluster's files, such as that the disk is full, as a ClusterError; anything else as it is. */
export function asClusterError(directory: string, error: unknown): unknown {
  if (error instanceof ClusterError || codeOf(error) === undefined) return error;
  return new ClusterError(
    'unreachable',
    `${directory} cannot be used: ${fileReason(error)} (${messageOf(error)})`,
    { cause: error },
  );
}
