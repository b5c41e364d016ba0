import { leafHash, nodeHash, emptyRoot } from '../../src/log/tree/merkle.js';
import type { HashReader } from '../../src/log/tree/prover.js';
import { tileWidth, type CompletedTile, type TileReader } from '../../src/log/tree/tiles.js';

/** The hashes of the leaves `leaf 0`, `leaf 1` and so on. */
export function sampleLeaves(count: number): Uint8Array[] {
  return Array.from({ length: count }, (_, index) => leafHash(Buffer.from(`leaf ${index}`)));
}

/** MTH of RFC 6962 section 2.1, word for word: what everything faster is compared with. */
export function referenceRoot(leaves: readonly Uint8Array[]): Uint8Array {
  const [first] = leaves;
  if (first === undefined) return emptyRoot;
  if (leaves.length === 1) return first;
  let k = 1;
  while (k * 2 < leaves.length) k *= 2;
  return nodeHash(referenceRoot(leaves.slice(0, k)), referenceRoot(leaves.slice(k)));
}

/** Reads the hashes of complete subtrees by computing them from the leaves. */
export function leafReader(leaves: readonly Uint8Array[]): HashReader {
  return {
    readHashes: (level, first, count) =>
      Promise.resolve(
        Array.from({ length: count }, (_, offset) => {
          const start = (first + offset) * 2 ** level;
          const span = leaves.slice(start, start + 2 ** level);
          if (span.length !== 2 ** level) throw new RangeError('not a complete subtree');
          return referenceRoot(span);
        }),
      ),
  };
}

/** A store that keeps what a database would: the leaves' hashes, and the completed hashes of the levels above. */
export function tileStore(leaves: readonly Uint8Array[], completed: readonly CompletedTile[]): TileReader {
  const rows = new Map(completed.map(({ level, index, hash }) => [`${level}/${index}`, hash]));
  const hashAt = (level: number, index: number): Uint8Array => {
    const hash = level === 0 ? leaves[index] : rows.get(`${level}/${index}`);
    if (hash === undefined) throw new RangeError(`no row at level ${level}, index ${index}`);
    return hash;
  };
  return (level, index, width) =>
    Promise.resolve(
      Buffer.concat(Array.from({ length: width }, (_, at) => hashAt(level, index * tileWidth + at))),
    );
}

/** Lower-case hexadecimal. */
export function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}
