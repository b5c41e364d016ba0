import type { WitnessedLog } from '../../escrow/ports/log.js';
import { consistencyProof } from '../../log/tree/prover.js';
import { safeInteger } from '../faults.js';
import { newestCheckpoint } from './checkpoints.js';
import { hashesOf } from './treeHashes.js';
import type { Pool } from '../pool.js';

/** Opens the log for those who show it to its witnesses. */
export function openWitnessedLog(pool: Pool): WitnessedLog {
  return {
    newest: () => newestCheckpoint(pool.ask),

    cosignedBy: async (name, keyId) => {
      const [row] = await pool.ask<{ size: string; cosigned_at: string }>(
        `select size, cosigned_at from log_cosignature where name = ? and key_id = ?
         order by size desc, cosigned_at desc limit 1`,
        [name, keyId],
      );
      return row === undefined
        ? { size: 0, at: 0 }
        : { size: safeInteger(row.size), at: safeInteger(row.cosigned_at) };
    },

    consistency: (oldSize, newSize) => consistencyProof(hashesOf(pool.ask, newSize), oldSize, newSize),

    keep: async ({ size, name, keyId, line, at }) => {
      await pool.ask(
        `insert into log_cosignature (size, name, key_id, line, cosigned_at) values (?, ?, ?, ?, ?)
         on conflict do nothing`,
        [size, name, keyId, line, at],
      );
    },
  };
}
