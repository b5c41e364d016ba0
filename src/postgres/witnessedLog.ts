import type { WitnessedLog } from '../escrow/ports.js';
import { consistencyProof } from '../log/prover.js';
import { safeInteger } from './faults.js';
import { newestCheckpoint } from './integrator.js';
import { hashesOf } from './logReader.js';
import type { Pool } from './pool.js';

/** Opens the log for those who show it to its witnesses. */
export function openWitnessedLog(pool: Pool): WitnessedLog {
  return {
    newest: () => newestCheckpoint(pool.ask),

    cosignedBy: async (name, keyId) => {
      const [row] = await pool.ask<{ size: string | null }>(
        'select max(size) as size from log_cosignature where name = ? and key_id = ?',
        [name, keyId],
      );
      return row?.size == null ? 0 : safeInteger(row.size);
    },

    consistency: (oldSize, newSize) => consistencyProof(hashesOf(pool.ask, newSize), oldSize, newSize),

    keep: async ({ size, name, keyId, line }) => {
      await pool.ask(
        `insert into log_cosignature (size, name, key_id, line) values (?, ?, ?, ?) on conflict do nothing`,
        [size, name, keyId, line],
      );
    },
  };
}
