import { type Checkpoint, openCheckpoint } from '../../log/note/checkpoint.js';
import type { Ask } from '../pool.js';
import { LogDamaged, safeInteger } from '../faults.js';
import type { NoteVerifier } from '../../log/note/noteKey.js';

export interface StoredCheckpoint {
  readonly size: number;
  readonly note: string;
}

/** The newest tree that this daemon has seen signed. Without a note, it is the empty one, which nobody signs. */
export type TrustedCheckpoint = Checkpoint & { readonly note: string | undefined };
export async function newestCheckpoint(ask: Ask): Promise<StoredCheckpoint | undefined> {
  const [row] = await ask<{ size: string; note: string }>(
    'select size, note from log_checkpoint order by size desc limit 1',
  );
  return row === undefined ? undefined : { size: safeInteger(row.size), note: row.note };
}

/** Opens a stored checkpoint. Throws LogDamaged when it is not one that this log's key has signed. */
export function openStored(stored: StoredCheckpoint, key: NoteVerifier, origin: string): Checkpoint {
  try {
    const checkpoint = openCheckpoint(stored.note, key, origin);
    if (checkpoint.size !== stored.size) throw new Error(`it is over ${checkpoint.size}`);
    return checkpoint;
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new LogDamaged(`the stored checkpoint over ${stored.size} entries is not this log's: ${why}`, {
      cause,
    });
  }
}
