import { accessSync, constants, lstatSync, realpathSync, statfsSync, statSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';

import { codeOf, fileReason } from './errors.js';

/** Nothing can be kept at a place that somebody named; `message` is why, and `remedy` what to do about it: a clause each. */
export class UnusablePlace extends Error {
  override readonly name = 'UnusablePlace';

  constructor(
    message: string,
    readonly remedy: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** What a file system is, as far as it matters here; numbers as statfs(2) has them. */
export interface FileSystem {
  readonly type: number;
  readonly bsize: number;
  readonly bavail: number;
  readonly files: number;
  readonly ffree: number;
}

/** A directory that can be written, or made. */
export interface Place {
  /** What can still be written there by who is not root, in bytes; 0 where no file can be made any more. */
  readonly freeBytes: number;
  /** When what is written there is gone, where it is not kept: a clause. */
  readonly forgets: string | undefined;
}

/** Those of Linux's own, by their magic numbers (linux/magic.h): what is in them are no files. */
const OF_THE_KERNEL: ReadonlyMap<number, string> = new Map([
  [0x9fa0, 'proc'],
  [0x62656572, 'sysfs'],
  [0x27e0eb, 'cgroup'],
  [0x63677270, 'cgroup2'],
  [0x64626720, 'debugfs'],
  [0x74726163, 'tracefs'],
  [0x73636673, 'securityfs'],
  [0x62656570, 'configfs'],
  [0x6165676c, 'pstore'],
  [0xcafe4a11, 'bpf'],
  [0xde5e81e4, 'efivarfs'],
  [0xf97cff8c, 'selinuxfs'],
  [0x1cd1, 'devpts'],
  [0x19800202, 'mqueue'],
  [0x6e736673, 'nsfs'],
  [0x42494e4d, 'binfmt_misc'],
  [0x65735543, 'fusectl'],
  [0x958458f6, 'hugetlbfs'],
]);

const FORGETTING: ReadonlyMap<number, string> = new Map([
  [0x01021994, 'it lies in memory (tmpfs), and is gone when the machine is started anew'],
  [0x858458f6, 'it lies in memory (ramfs), and is gone when the machine is started anew'],
]);

/**
 * The place of a directory that is to be written, or made with those above it that are missing. Makes nothing. What root is told of
 * rights holds for root alone.
 *
 * @param fileSystemAt statfs(2), of a directory that is there
 * @throws UnusablePlace when there is no directory and none can be made, when this user may not write there, or when it is in no file
 *   system that keeps files
 */
export function placeOf(directory: string, fileSystemAt: (path: string) => FileSystem = statfsSync): Place {
  const at = nearest(resolve(directory));
  try {
    if (!statSync(at).isDirectory()) throw noDirectory(at);
    const place = roomAt(at, fileSystemAt);
    accessSync(at, constants.W_OK | constants.X_OK);
    return place;
  } catch (error) {
    throw error instanceof UnusablePlace ? error : unusable(at, error);
  }
}

/**
 * Makes a directory with those above it that are missing, and resolves with the first that was made. mkdir of Node, when it is to do
 * so where the kernel makes none (/proc), never comes back.
 *
 * @throws an error of the system with a `code`; ENOTSUP where no files are kept
 */
export async function makeDirectories(directory: string, mode: number): Promise<string | undefined> {
  requireFiles(directory);
  return mkdir(directory, { recursive: true, mode });
}

/** @throws an error with the code ENOTSUP where what is at this path, or would be made there, is kept by no file system */
export function requireFiles(path: string): void {
  for (let at = resolve(path); ; at = dirname(at)) {
    try {
      const kernel = OF_THE_KERNEL.get(statfsSync(at).type >>> 0);
      if (kernel === undefined || process.platform !== 'linux') return;
    } catch (error) {
      if (['ENOENT', 'ENOTDIR'].includes(codeOf(error) ?? '') && at !== dirname(at)) continue;
      return; // whoever makes it is told
    }
    const message = `ENOTSUP: no files are kept there, mkdir '${path}'`;
    throw Object.assign(new Error(message), { code: 'ENOTSUP', syscall: 'mkdir', path });
  }
}

/**
 * The place of a file or directory that is there, whose rights are not asked for.
 *
 * @throws UnusablePlace when its file system keeps no files; what `fileSystemAt` throws
 */
export function roomAt(path: string, fileSystemAt: (path: string) => FileSystem = statfsSync): Place {
  const { type, bsize, bavail, files, ffree } = fileSystemAt(path);
  const magic = process.platform === 'linux' ? type >>> 0 : 0;
  const kernel = OF_THE_KERNEL.get(magic);
  if (kernel !== undefined)
    throw new UnusablePlace(
      `${path} is of a file system that keeps no files (${kernel})`,
      'name a directory on a disk',
    );
  const isOutOfFiles = files > 0 && ffree === 0;
  return { freeBytes: isOutOfFiles ? 0 : bavail * bsize, forgets: FORGETTING.get(magic) };
}

/** What somebody should see to about a place that can be used, where so many bytes are soon needed: a clause each. */
export function cautionsOf(
  { freeBytes, forgets }: Place,
  neededBytes: number,
): readonly { readonly what: string; readonly remedy: string }[] {
  const inMiB = (bytes: number): string => `${Math.floor(bytes / (1024 * 1024))} MiB`;
  return [
    ...(forgets === undefined
      ? []
      : [{ what: forgets, remedy: 'name a directory on a disk, but where you only try things out' }]),
    ...(freeBytes >= neededBytes
      ? []
      : [
          {
            what: `there is room for ${inMiB(freeBytes)} and no more, of ${inMiB(neededBytes)} that are soon needed`,
            remedy: 'make room there',
          },
        ]),
  ];
}

/** The directory itself, or the first above it that is there. What is behind a link has to be there. */
function nearest(directory: string): string {
  for (let at = directory; ; at = dirname(at)) {
    try {
      return lstatSync(at).isSymbolicLink() ? realpathSync(at) : at;
    } catch (error) {
      const code = codeOf(error);
      if (code === 'ENOTDIR' || (code === 'ENOENT' && !isLink(at) && at !== dirname(at))) continue;
      throw unusable(at, error);
    }
  }
}

function isLink(path: string): boolean {
  try {
    return lstatSync(path).isSymbolicLink();
  } catch {
    return false;
  }
}

function noDirectory(at: string): UnusablePlace {
  return new UnusablePlace(`${at} is not a directory`, 'name another directory, or move away what is there');
}

const WHY: Readonly<Record<string, readonly [what: string, remedy: string]>> = {
  EACCES: [
    'cannot be written by the user of this program',
    'give it to that user, or name another directory',
  ],
  EPERM: ['cannot be written by the user of this program', 'give it to that user, or name another directory'],
  EROFS: ['can only be read', 'mount it so that it can be written, or name another directory'],
  ENOENT: ['is a link that leads nowhere', 'make what it leads to, or name the directory itself'],
  ELOOP: ['is a link that leads round in a circle', 'name the directory itself'],
  ENAMETOOLONG: ['has a longer name than the system allows', 'name another directory'],
};

/** An error of the system about the directory `at`, in words. */
function unusable(at: string, cause: unknown): UnusablePlace {
  const [what, remedy] = WHY[codeOf(cause) ?? ''] ?? [
    `cannot be used: ${fileReason(cause)}`,
    'see what has become of it',
  ];
  return new UnusablePlace(`${at} ${what}`, remedy, { cause });
}
