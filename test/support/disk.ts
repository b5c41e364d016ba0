import type { FileSystem } from '../../src/system/place.js';

/** A file system of ext4, with room: what tests make may lie in memory, or on a disk that is nearly full, of which a check warns. */
export const DISK: FileSystem = { type: 0xef53, bsize: 4096, bavail: 1e9, files: 1e9, ffree: 1e9 };
