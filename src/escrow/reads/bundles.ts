import { type Tile, tileWidthAt, tileWidth, entryBundle } from '../../log/tree/tiles.js';
import type { Escrow } from '../escrow.js';
import { EscrowError } from '../records/errors.js';

/**
 * A C2SP entry bundle: the entries under a tile of level 0. For auditors, who may read everything.
 * @throws EscrowError `route-unknown` when the newest checkpoint does not cover it.
 */
export async function viewBundle({ log }: Pick<Escrow, 'log'>, tile: Tile): Promise<Uint8Array> {
  const size = (await log.checkpoint())?.size ?? 0;
  if (tileWidthAt(size, 0, tile.index) < tile.width) throw new EscrowError('route-unknown');
  const entries = await log.entries(tile.index * tileWidth, tile.width);
  return entryBundle(entries.map(({ entry }) => entry));
}
