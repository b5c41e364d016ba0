import { tileHashReader, tileWidth } from '../../log/tree/tiles.js';
import type { HashReader } from '../../log/tree/prover.js';
import { LogDamaged } from '../faults.js';
import type { Ask } from '../pool.js';
import { readLeaves } from './leaves.js';

async function readTile(
  ask: Ask,
  level: number,
  first: number,
  width: number,
): Promise<readonly Uint8Array[]> {
  const rows = await ask<{ hash: Uint8Array }>(
    'select hash from log_tile where level = ? and index >= ? and index < ? order by index',
    [level, first, first + width],
  );
  return rows.map(({ hash }) => hash);
}

/** Adjacent hashes of one level. Throws LogDamaged when one is not there. */
export async function readHashes(ask: Ask, level: number, first: number, width: number): Promise<Uint8Array> {
  const hashes = level === 0 ? await readLeaves(ask, first, width) : await readTile(ask, level, first, width);
  if (hashes.length !== width) {
    throw new LogDamaged(
      `the log lacks ${width - hashes.length} of the hashes of level ${level} from ${first} on`,
    );
  }
  return Buffer.concat(hashes);
}

/** The hashes of the tree over the first `size` entries: level 0 from the entries themselves, the others as stored. */
export function hashesOf(ask: Ask, size: number): HashReader {
  return tileHashReader(size, (level, index, width) => readHashes(ask, level, index * tileWidth, width));
}
