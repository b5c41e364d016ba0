import { EscrowError } from '../../escrow/records/errors.js';
import { type Subject, type Entry, decodeEntry } from '../../log/entry/entry.js';
import type { LogReader, StoredEntry } from '../../escrow/ports/log.js';
import type { Checkpoint } from '../../log/note/checkpoint.js';
import { ProofError, verifyInclusion } from '../../log/tree/proof.js';
import { consistencyProof, inclusionProof, rootOf } from '../../log/tree/prover.js';
import { tileWidth, tileWidthAt } from '../../log/tree/tiles.js';
import { newestWitnessed, withCosignatures } from './cosignatures.js';
import { pageOf, readCursor } from '../cursor.js';
import type { Damage } from '../damage.js';
import { LogDamaged, safeInteger } from '../faults.js';
import { type Integrator } from './integrator.js';
import { newestCheckpoint, type StoredCheckpoint } from './checkpoints.js';
import type { Ask, Pool } from '../pool.js';
import { readEntriesAbout, type EntryRow } from './subjectIndex.js';
import { hashesOf, readHashes } from './treeHashes.js';

/**
 * Opens the log for reading. `proofMs`: how long a proof waits for a checkpoint. That an entry is in the log is answered only by
 * a tree which this daemon has compared with the leaves that it knows, and by proofs which lead to its root: hashes that the
 * database has changed are damage.
 */
export function openLogReader(
  pool: Pool,
  integrator: Pick<Integrator, 'covering' | 'proven' | 'open'>,
  proofMs: number,
  damage: Damage,
): LogReader {
  const checkpoint = async (): Promise<StoredCheckpoint | undefined> => {
    const newest = await newestCheckpoint(pool.ask);
    // the first entries may be there before their checkpoint is
    if (newest !== undefined || (await logSize(pool.ask)) === 0) return newest;
    return integrator.covering(1, proofMs);
  };
  const compared = async (covering: number): Promise<SignedTree> => {
    // the newest, so that who has seen another daemon's is not shown an older one
    const newest = await newestCheckpoint(pool.ask);
    return integrator.proven(Math.max(covering, newest?.size ?? 0), proofMs);
  };
  const treeOf = async (size: number): Promise<SignedTree> => {
    const [row] = await pool.ask<{ note: string }>('select note from log_checkpoint where size = ?', [size]);
    if (row === undefined) throw noSuchEntry();
    await integrator.proven(size, proofMs);
    return { ...integrator.open({ size, note: row.note }), note: row.note };
  };
  const proofsIn = async (
    { size, root }: SignedTree,
    indexes: readonly number[],
  ): Promise<readonly (readonly Uint8Array[])[]> => {
    const hashes = hashesOf(pool.ask, size);
    const proofs: (readonly Uint8Array[])[] = [];
    // one after the other: whoever asks for many does not take the connections of all
    for (const index of indexes) {
      const proof = await inclusionProof(hashes, index, size);
      const [leaf] = await hashes.readHashes(0, index, 1);
      verifyInclusion({ index, size, leafHash: leaf ?? new Uint8Array(), proof, root });
      proofs.push(proof);
    }
    return proofs;
  };
  const undamaged = async <T>(work: Promise<T>): Promise<T> => {
    try {
      return await work;
    } catch (error) {
      if (!(error instanceof LogDamaged || error instanceof ProofError)) throw error;
      const found = error instanceof LogDamaged ? error : doesNotLead(error);
      damage.found(found);
      throw new EscrowError('log-unavailable', undefined, { cause: found });
    }
  };
  return {
    checkpoint: async () => {
      const newest = await checkpoint();
      return newest === undefined ? undefined : withCosignatures(pool.ask, newest);
    },

    witnessed: async (by) => {
      const found = await newestWitnessed(pool.ask, by);
      return found === undefined ? undefined : withCosignatures(pool.ask, found);
    },

    entries: async (from, limit) => {
      const rows = await pool.ask<EntryRow>(
        'select seq, entry from log_entry where seq >= ? order by seq limit ?',
        [from, limit],
      );
      return rows.map(toEntry);
    },

    entriesAbout: async (about, page, below) => {
      const after = readCursor(page.after, [0])?.[0];
      const bounds = [after, below].filter((bound) => bound !== undefined);
      const rows = await readEntriesAbout(pool.ask, about, {
        order: 'newest first',
        ...(bounds.length === 0 ? {} : { below: Math.min(...bounds) }),
        limit: page.limit + 1,
      });
      const found = pageOf(rows, page.limit, { item: toEntry, position: ({ seq }) => [safeInteger(seq)] });
      const { key } = about;
      return key === undefined ? found : { ...found, items: found.items.filter(isAboutKey(key)) };
    },

    // It is among the first, before thousands of uses of what was recovered.
    filing: (recovery) => firstAbout(pool.ask, { recovery }, isFiling),

    inclusion: async (index) => {
      if (index >= (await logSize(pool.ask))) throw noSuchEntry();
      const tree = await compared(index + 1);
      const [proof = []] = await undamaged(proofsIn(tree, [index]));
      return { checkpoint: tree.note, size: tree.size, proof };
    },

    inclusions: async (indexes, wanted) => {
      const newest = Math.max(-1, ...indexes);
      if (wanted === undefined && newest < 0) {
        return { checkpoint: (await checkpoint())?.note, proofs: [] };
      }
      const tree = wanted === undefined ? await compared(newest + 1) : await undamaged(treeOf(wanted));
      if (newest >= tree.size) throw noSuchEntry();
      return { checkpoint: tree.note, proofs: await undamaged(proofsIn(tree, indexes)) };
    },

    rootAt: async (size) => {
      const newest = await newestCheckpoint(pool.ask);
      return size > (newest?.size ?? 0) ? undefined : rootOf(hashesOf(pool.ask, size), size);
    },

    consistency: async (oldSize, newSize) => {
      const newest = await newestCheckpoint(pool.ask);
      if (oldSize > newSize || newSize > (newest?.size ?? 0)) throw noSuchEntry();
      return consistencyProof(hashesOf(pool.ask, newSize), oldSize, newSize);
    },

    tile: async ({ level, index, width }) => {
      const size = (await newestCheckpoint(pool.ask))?.size ?? 0;
      return tileWidthAt(size, level, index) < width
        ? undefined
        : readHashes(pool.ask, level, index * tileWidth, width);
    },
  };
}

/** A tree that the log's key has signed, and the checkpoint that says so. */
type SignedTree = Checkpoint & StoredCheckpoint;

function doesNotLead(cause: ProofError): LogDamaged {
  return new LogDamaged('the hashes in the database do not lead to the root that was signed', { cause });
}

/** Entries that are looked at at once for the first of a kind. */
const firstPage = 100;

/** The first entry about this that is of a kind. */
async function firstAbout(
  ask: Ask,
  about: Omit<Subject, 'keys'>,
  isIt: (entry: Entry) => boolean,
): Promise<StoredEntry | undefined> {
  for (let from = 0; ;) {
    const order = { order: 'oldest first', from, limit: firstPage, single: true } as const;
    const entries = (await readEntriesAbout(ask, about, order)).map(toEntry);
    const found = entries.find(({ entry }) => isIt(decodeEntry(entry)));
    const last = entries.at(-1);
    if (found !== undefined || last === undefined) return found;
    from = last.index + 1;
  }
}

/** The number of entries in the log, whether a checkpoint covers them or not. */
export async function logSize(ask: Ask): Promise<number> {
  const [head] = await ask<{ size: string }>('select size from log_head where id = 1');
  if (head === undefined) throw new LogDamaged('the log has no head');
  return safeInteger(head.size);
}

/** Requests name their keys in the entry alone. */
function isAboutKey(wanted: string): (stored: StoredEntry) => boolean {
  return ({ entry }) => {
    const { key, keys = key === undefined ? [] : [key] } = decodeEntry(entry).subject;
    return keys.includes(wanted);
  };
}

function isFiling({ act, phase }: Entry): boolean {
  return act === 'recovery.request' && phase === 'done';
}

function toEntry({ seq, entry }: EntryRow): StoredEntry {
  return { index: safeInteger(seq), entry };
}

function noSuchEntry(): EscrowError {
  return new EscrowError('request-malformed', 'The log does not reach that far.');
}
