import type { Certifier, CheckpointSigner } from '../../src/escrow/ports/signers.ts';
import type { Clock } from '../../src/escrow/ports/clock.ts';
import type { Anchorage } from '../../src/escrow/ports/log.ts';
import { anchorAfter, emptyAnchor, type Anchor, type Anchoring } from '../../src/log/anchor.js';
import { openDatabase, type Database, type DatabaseOptions } from '../../src/postgres/database.js';
import type { Connection } from '../../src/postgres/connection.js';
import { openPool } from '../../src/postgres/pool.js';
import { certifiedWriter, type Writer } from '../../src/postgres/log/writer.js';
import { query, type TestServer } from '../support/postgres.js';
import { softwareCertifier } from '../support/signer.js';
import { letPass, until } from '../support/waiting.js';

export const clock: Clock = { now: () => new Date(), pause: letPass };
export const silent: DatabaseOptions['log'] = { info: () => undefined, warn: () => undefined };

/** The identity key of the tests that open a database. */
export const certifier = softwareCertifier();

/** A token's anchor: the longest log that was written to it. */
export function anchorage(first: Anchor = emptyAnchor): Anchorage & { anchor: Anchor } {
  const kept = {
    anchor: first,
    readAnchor: () => Promise.resolve(kept.anchor),
    writeAnchor: (anchor: Anchoring) => {
      if (anchor.size > kept.anchor.size) kept.anchor = anchorAfter(anchor, kept.anchor);
      return Promise.resolve();
    },
  };
  return kept;
}

/** Opens a daemon's view of the server's database, which is migrated already unless its owner is given. */
export function openOn(
  server: TestServer,
  signer: CheckpointSigner,
  options: Partial<DatabaseOptions> = {},
): Promise<Database> {
  return openDatabase({
    daemon: server.daemon,
    signer,
    certifier,
    anchorage: anchorage(),
    clock,
    log: silent,
    ...options,
  });
}

/** Resolves when a transaction waits for a row that another has locked (pg_stat_activity shows a role its own). */
export function somebodyWaits(server: TestServer): Promise<void> {
  const waiting = `select from pg_stat_activity where wait_event in ('transactionid', 'tuple')`;
  return until(async () => (await query(server.daemon, waiting)).length > 0);
}

/** Another writer of this log, beside the daemons that are open, in a database that never had entries without one. */
export async function writerOn(
  connection: Connection,
  signer: CheckpointSigner,
  id: string,
  by: Certifier = certifier,
): Promise<Writer> {
  const pool = openPool(connection, { connectMs: 10_000, queryMs: 10_000 }, 1);
  try {
    const at = clock.now();
    return await certifiedWriter(pool.ask, { id, log: signer.vkey, from: 0, certifier: by, at });
  } finally {
    await pool.close();
  }
}
