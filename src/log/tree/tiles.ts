import { maximumEntryBytes } from '../entry/entry.js';
import { Frontier, hashLengthBytes } from './merkle.js';
import type { HashReader } from './prover.js';

/** The height of a tile: it spans this many levels of the tree (C2SP tlog-tiles, "Merkle Tree"). */
export const tileHeight = 8;
/** The number of hashes in a full tile, and the number of leaves under a hash of level 1. */
export const tileWidth = 256;

/** A tile: the `index`-th of its level, with the first `width` (1 to 256) of its hashes. */
export interface Tile {
  /** 0 to 63. A hash at level 0 is a leaf's, one at level `l` the root of a full tile of level `l - 1`. */
  readonly level: number;
  readonly index: number;
  readonly width: number;
}

/**
 * The path of a tile, relative to the log's prefix: `tile/<L>/<N>`, and `.p/<W>` behind it where the tile
 * is partial (C2SP tlog-tiles, "Merkle Tree").
 * @throws RangeError when there is no such tile.
 */
export function tilePath(level: number, index: number, width: number = tileWidth): string {
  if (!isTile({ level, index, width })) throw new RangeError('no such tile');
  const groups: string[] = [];
  for (let rest = index; groups.length === 0 || rest > 0; rest = Math.floor(rest / 1000)) {
    const digits = String(rest % 1000).padStart(3, '0');
    groups.unshift(groups.length === 0 ? digits : `x${digits}`);
  }
  return `tile/${level}/${groups.join('/')}${width < tileWidth ? `.p/${width}` : ''}`;
}

/** The tile that a path names; undefined for whatever {@link tilePath} does not write. */
export function parseTilePath(path: string): Tile | undefined {
  const match = /^tile\/(\d{1,2})\/((?:x\d{3}\/)*\d{3})(?:\.p\/(\d{1,3}))?$/.exec(path);
  if (match === null) return undefined;
  const [, level, groups = '', width] = match;
  const tile = {
    level: Number(level),
    index: Number(groups.replaceAll(/[x/]/g, '')),
    width: width === undefined ? tileWidth : Number(width),
  };
  // Leading zeros, a width of 256 spelt out and the like are other spellings of a tile that has its one
  // path.
  return isTile(tile) && tilePath(tile.level, tile.index, tile.width) === path ? tile : undefined;
}

/**
 * The bundle that a path names, `tile/entries/<N>` with `.p/<W>` behind it where it is partial (C2SP tlog-tiles, "Log
 * Entries"); undefined for every other spelling. Level 0 stands for its leaves.
 */
export function parseBundlePath(path: string): Tile | undefined {
  return path.startsWith('tile/entries/')
    ? parseTilePath(path.replace('tile/entries/', 'tile/0/'))
    : undefined;
}

/**
 * An entry bundle (C2SP tlog-tiles, "Log Entries"): each entry behind its length as a big-endian uint16.
 * @throws RangeError on an entry that is longer than such a length can say: 65,535 bytes.
 */
export function entryBundle(entries: readonly Uint8Array[]): Uint8Array {
  return Buffer.concat(
    entries.flatMap((entry) => {
      if (entry.length > maximumEntryBytes) throw new RangeError('an entry is too long for a bundle');
      const length = Buffer.alloc(2);
      length.writeUInt16BE(entry.length);
      return [length, entry];
    }),
  );
}

/**
 * The entries of a bundle, in order.
 * @throws RangeError when it ends within an entry.
 */
export function entriesOfBundle(bundle: Uint8Array): readonly Uint8Array[] {
  const entries: Uint8Array[] = [];
  const view = new DataView(bundle.buffer, bundle.byteOffset, bundle.byteLength);
  for (let at = 0; at < bundle.length;) {
    const start = at + 2;
    const end = start > bundle.length ? Infinity : start + view.getUint16(at);
    if (end > bundle.length) throw new RangeError('the bundle ends within an entry');
    entries.push(bundle.subarray(start, end));
    at = end;
  }
  return entries;
}

/**
 * The width of a tile in the tree of `size` leaves: 256 when it is full, less at the right edge, 0 when the
 * tree does not reach it.
 */
export function tileWidthAt(size: number, level: number, index: number): number {
  const hashes = Math.floor(size / tileWidth ** level);
  return Math.max(0, Math.min(tileWidth, hashes - index * tileWidth));
}

/**
 * Fetches a tile: `width` hashes of 32 bytes, one after the other. Its hashes never change, so a wider tile
 * of the same level and index may be cut to `width`.
 */
export type TileReader = (level: number, index: number, width: number) => Promise<Uint8Array>;

/**
 * A {@link HashReader} over the tree of `size` leaves that reads tiles only, and computes the levels
 * between them. It asks for each tile once, in the width that the tile has in this tree, and keeps it: make
 * one reader for one proof, and drop it.
 *
 * Its `readHashes` throws RangeError when the tree has no such hash, or a tile comes in another length;
 * what `readTile` throws goes through.
 */
export function tileHashReader(size: number, readTile: TileReader): HashReader {
  const tiles = new Map<string, Promise<Uint8Array>>();

  const tileAt = (level: number, index: number): Promise<Uint8Array> => {
    const key = `${level}/${index}`;
    const known = tiles.get(key);
    if (known !== undefined) return known;
    const tile = readWhole(readTile, { level, index, width: tileWidthAt(size, level, index) });
    tiles.set(key, tile);
    return tile;
  };

  /** The hash at `height` levels above the tile level: the root of 2^height adjacent hashes of one tile. */
  const hashAt = async (level: number, height: number, index: number): Promise<Uint8Array> => {
    const span = 2 ** height;
    const first = index * span;
    if (first + span > Math.floor(size / tileWidth ** level))
      throw new RangeError('the tree has no such hash');
    const tile = await tileAt(level, Math.floor(first / tileWidth));
    const at = first % tileWidth;
    return rootOfHashes(Array.from({ length: span }, (_, offset) => hashIn(tile, at + offset)));
  };

  return {
    readHashes: (level, first, count) =>
      Promise.all(
        Array.from({ length: count }, (_, offset) =>
          hashAt(Math.floor(level / tileHeight), level % tileHeight, first + offset),
        ),
      ),
  };
}

/** The root of a full tile of `level - 1`, which is the `index`-th hash of `level`. */
export interface CompletedTile {
  /** At least 1. */
  readonly level: number;
  readonly index: number;
  readonly hash: Uint8Array;
}

/**
 * Grows the tree by leaves, and says what a store of tiles has to keep of it: the hashes of the levels
 * above 0. The leaves' own hashes are level 0. `frontier` is left as it is.
 * @returns the frontier of the grown tree, and the hashes to insert, each once in the life of the log
 * @throws RangeError on a leaf hash that is not 32 bytes
 */
export function growTree(
  frontier: Frontier,
  leafHashes: Iterable<Uint8Array>,
): { readonly frontier: Frontier; readonly completed: readonly CompletedTile[] } {
  const grown = frontier.copy();
  const completed: CompletedTile[] = [];
  for (const leaf of leafHashes) {
    const subtrees = grown.append(leaf);
    for (let level = 1; level * tileHeight < subtrees.length; level += 1) {
      const hash = subtrees[level * tileHeight];
      if (hash !== undefined) completed.push({ level, index: grown.size / tileWidth ** level - 1, hash });
    }
  }
  return { frontier: grown, completed };
}

function isTile({ level, index, width }: Tile): boolean {
  const isWithin = (value: number, low: number, high: number): boolean =>
    Number.isSafeInteger(value) && value >= low && value <= high;
  return (
    isWithin(level, 0, 63) && isWithin(index, 0, Number.MAX_SAFE_INTEGER) && isWithin(width, 1, tileWidth)
  );
}

async function readWhole(readTile: TileReader, { level, index, width }: Tile): Promise<Uint8Array> {
  const tile = await readTile(level, index, width);
  if (tile.length !== width * hashLengthBytes) {
    throw new RangeError(`${tilePath(level, index, width)} came with ${tile.length} bytes`);
  }
  return tile;
}

function hashIn(tile: Uint8Array, at: number): Uint8Array {
  return tile.subarray(at * hashLengthBytes, (at + 1) * hashLengthBytes);
}

function rootOfHashes(hashes: readonly Uint8Array[]): Uint8Array {
  const frontier = Frontier.empty();
  for (const hash of hashes) frontier.append(hash);
  return frontier.root();
}
