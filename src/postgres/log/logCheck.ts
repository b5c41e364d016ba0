import type { CheckpointSigner } from '../../escrow/ports/signers.js';
import type { Checkpoint } from '../../log/note/checkpoint.js';
import { emptyRoot, Frontier, sameBytes } from '../../log/tree/merkle.js';
import { noteVerifier } from '../../log/note/noteKey.js';
import { rootOf } from '../../log/tree/prover.js';
import { tileWidth } from '../../log/tree/tiles.js';
import { LogDamaged, safeInteger } from '../faults.js';
import { readFrontier, requireSame } from './integrator.js';
import { readLeaves } from './leaves.js';
import { newestCheckpoint, openStored, type TrustedCheckpoint } from './checkpoints.js';
import { logSize } from './logReader.js';
import { hashesOf } from './treeHashes.js';
import type { Ask } from '../pool.js';

/**
 * Checks what the log is built on before anything is added: that the head is where the entries end, that the newest
 * checkpoint is by this log's key, and that the stored tree is the one it signs. Of the entries it hashes again the
 * newest `rehashed` or more, besides those that no stored hash covers; the verifier of an export hashes them all.
 * Returns the number of entries, what is signed of them, and the frontier of that tree. `ask` sees one snapshot: other daemons may append meanwhile. Throws LogDamaged with a sentence for the operator.
 */
export async function checkLog(
  ask: Ask,
  signer: Pick<CheckpointSigner, 'origin' | 'vkey'>,
  rehashed: number,
): Promise<{ readonly size: number; readonly trusted: TrustedCheckpoint; readonly frontier: Frontier }> {
  const trusted = await readTrusted(ask, signer);
  const size = await checkHead(ask);
  if (trusted.size > size) {
    throw new LogDamaged(`the newest checkpoint is over ${trusted.size} entries, and the log has ${size}`);
  }
  const [state] = await ask<{ size: string; frontier: Uint8Array }>(
    'select size, frontier from log_frontier where id = 1',
  );
  if (state === undefined) throw new LogDamaged('the tree has no frontier');
  const frontier = readFrontier(state);
  requireSame(frontier, trusted);
  await checkTree(ask, trusted, rehashed);
  return { size, trusted, frontier };
}

/** The newest checkpoint that is stored, opened; the empty tree when there is none. Throws LogDamaged. */
export async function readTrusted(
  ask: Ask,
  signer: Pick<CheckpointSigner, 'origin' | 'vkey'>,
): Promise<TrustedCheckpoint> {
  const stored = await newestCheckpoint(ask);
  if (stored === undefined) return { origin: signer.origin, size: 0, root: emptyRoot, note: undefined };
  return { ...openStored(stored, noteVerifier(signer.vkey), signer.origin), note: stored.note };
}

async function checkHead(ask: Ask): Promise<number> {
  const head = await logSize(ask);
  const [row] = await ask<{ last: string | null }>('select max(seq) as last from log_entry');
  const entries = row?.last == null ? 0 : safeInteger(row.last) + 1;
  if (head === entries) return head;
  throw new LogDamaged(`the log's head says ${head} entries, and they end at ${entries}`);
}

async function checkTree(ask: Ask, signed: Checkpoint, rehashed: number): Promise<void> {
  const root = await rootOf(hashesOf(ask, signed.size), signed.size);
  if (!sameBytes(root, signed.root)) {
    throw new LogDamaged(
      `the entries and hashes of the tree of ${signed.size} are not those that were signed`,
    );
  }
  const fullTiles = Math.floor(signed.size / tileWidth);
  const first = Math.max(0, fullTiles - Math.ceil(rehashed / tileWidth));
  const hashes = hashesOf(ask, signed.size);
  for (let tile = first; tile < fullTiles; tile += tilesAtOnce) {
    const count = Math.min(tilesAtOnce, fullTiles - tile);
    const leaves = await readLeaves(ask, tile * tileWidth, count * tileWidth);
    const expected = await hashes.readHashes(8, tile, count);
    expected.forEach((hash, position) => {
      const frontier = Frontier.empty();
      for (const leaf of leaves.slice(position * tileWidth, (position + 1) * tileWidth))
        frontier.append(leaf);
      if (!sameBytes(frontier.root(), hash)) {
        const from = (tile + position) * tileWidth;
        throw new LogDamaged(`one of the entries ${from} to ${from + tileWidth - 1} is not what was logged`);
      }
    });
  }
}

const tilesAtOnce = 32;
