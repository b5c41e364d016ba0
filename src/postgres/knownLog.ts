import type { CheckpointSigner } from '../escrow/ports/signers.js';
import type { Store } from '../escrow/ports/store.js';
import type { Anchor } from '../log/anchor.js';
import { emptyRoot } from '../log/tree/merkle.js';
import { Clocks } from './clocks.js';
import type { Connection } from './connection.js';
import { requireAnchored } from './log/anchoring.js';
import { checkLog } from './log/logCheck.js';
import { openPool } from './pool.js';
import { openStore } from './store/store.js';

/** So many of the newest entries are hashed again; a start hashes more. */
const REHASHED = 256;

/** By how much a clock and that of the database are apart, in milliseconds; undefined while they agree as a daemon wants it. */
export async function clocksApart(
  connection: Connection,
  own: () => Date,
  timeoutMs: number,
): Promise<number | undefined> {
  const pool = openPool(connection, { connectMs: timeoutMs, queryMs: timeoutMs }, 1);
  const clocks = new Clocks(own, () => undefined);
  try {
    await clocks.require(pool.ask).catch((error: unknown) => {
      if (clocks.apartMs === undefined) throw error;
    });
    return clocks.apartMs;
  } finally {
    await pool.close();
  }
}

/**
 * Checks that the log in a database is by this key, is the one that its newest checkpoint signs, and the one that the token remembers.
 * Reads only. Resolves with how many entries there are.
 *
 * @throws LogDamaged; EscrowError `store-unavailable`
 */
export async function requireKnownLog(
  connection: Connection,
  signer: Pick<CheckpointSigner, 'origin' | 'vkey'>,
  anchor: Anchor,
  timeoutMs: number,
): Promise<number> {
  const pool = openPool(connection, { connectMs: timeoutMs, queryMs: timeoutMs }, 1);
  try {
    return await pool.snapshot(async (ask) => {
      const { size, trusted } = await checkLog(ask, signer, REHASHED);
      const [row] = await ask<{ size: string }>('select size from log_unsigned where id = 1');
      await requireAnchored(ask, { signed: trusted, unsigned: Number(row?.size ?? 0) }, anchor);
      return size;
    });
  } finally {
    await pool.close();
  }
}

/** Checks that the token remembers no log, where the database has none yet. Throws LogDamaged. */
export async function requireNoLog(origin: string, anchor: Anchor): Promise<void> {
  const unasked = (): Promise<never> => Promise.reject(new Error('there is no schema to ask'));
  const signed = { origin, size: 0, root: emptyRoot };
  await requireAnchored(
    unasked,
    { signed, unsigned: anchor.unsigned ?? 0 },
    { ...anchor, policy: undefined },
  );
}

/** Lends the policies of a database, to be read. Throws what `work` does, and EscrowError `store-unavailable`. */
export async function withPolicies<T>(
  connection: Connection,
  timeoutMs: number,
  work: (store: Pick<Store, 'policyVersion' | 'policies'>) => Promise<T>,
): Promise<T> {
  const pool = openPool(connection, { connectMs: timeoutMs, queryMs: timeoutMs }, 1);
  try {
    return await work(openStore(pool));
  } finally {
    await pool.close();
  }
}
