import type { Certifier, CheckpointSigner } from '../../../src/escrow/ports/signers.ts';
import type { LogReader } from '../../../src/escrow/ports/log.ts';
import { Damage } from '../../../src/postgres/damage.js';
import { FollowedLog, type Followed } from '../../../src/postgres/log/followed.js';
import { type Follow } from '../../../src/postgres/log/followedState.ts';
import { leaseOf } from '../../../src/postgres/journal/instances.js';
import { Integrator } from '../../../src/postgres/log/integrator.js';
import { PostgresJournal } from '../../../src/postgres/journal/journal.js';
import { checkLog } from '../../../src/postgres/log/logCheck.js';
import { openLogReader } from '../../../src/postgres/log/logReader.js';
import { openPool, type Pool } from '../../../src/postgres/pool.js';
import type { TreeHead } from '../../../src/log/anchor.js';
import type { StateSnapshot } from '../../../src/postgres/log/followedState.ts';
import { certifiedWriter } from '../../../src/postgres/log/writer.js';
import { WrittenEntries } from '../../../src/postgres/log/writtenEntries.js';
import { clock, silent } from '../../postgres/fixtures.js';
import type { TestServer } from '../../support/postgres.js';

/** What a daemon has of the log: it appends and integrates. */
export interface DaemonOfLog {
  readonly journal: PostgresJournal;
  readonly integrator: Integrator;
  readonly followed: Followed;
  readonly log: LogReader;
  readonly damage: Damage;
  close(): Promise<void>;
}

/** A check of the daemon that is left out: what writers sign, or what the daemon knows of its own appends. */
export type LeftOut = 'nothing' | 'the signatures of writers' | 'its own leaves';

let daemons = 0;

/** Composes the journal and the integrator as `openDatabase` does, but for one check. */
export async function composeDaemon(
  server: TestServer,
  by: { readonly signer: CheckpointSigner; readonly certifier: Certifier },
  leftOut: LeftOut,
  follow?: Follow,
  snapshot?: StateSnapshot,
  anchor?: TreeHead,
): Promise<DaemonOfLog> {
  const timeouts = { connectMs: 5_000, queryMs: 5_000, appendMs: 2_000 };
  const pool = openPool(server.daemon, timeouts, 4);
  daemons += 1;
  const instance = `composed_${daemons}`;
  const { signer, certifier } = by;
  const { size, trusted, frontier } = await pool.snapshot((ask) => checkLog(ask, signer, 0));
  const damage = new Damage();
  const written =
    leftOut === 'the signatures of writers'
      ? believing
      : new WrittenEntries({ log: signer.vkey, identityKey: certifier.publicKey, from: 0 });
  const followed = await FollowedLog.start({
    pool,
    damage,
    written,
    self: instance,
    timeoutMs: timeouts.appendMs,
    follow,
    snapshot,
    trusted,
    ...(anchor === undefined ? {} : { anchor }),
  }).catch(async (error: unknown) => {
    await pool.close();
    throw error;
  });
  const writer = await certifiedWriter(pool.ask, {
    id: instance,
    log: signer.vkey,
    from: 0,
    certifier,
    at: clock.now(),
  });
  const integrator = new Integrator({
    pool,
    signer,
    log: silent,
    trusted,
    frontier,
    followed,
    damage,
    checkpointIntervalMs: 60_000,
  });
  const journal = new PostgresJournal({
    connection: server.daemon,
    pool,
    lease: leaseOf(pool, { instance, sole: false, leaseMs: 60_000 }),
    writer,
    followed: leftOut === 'its own leaves' ? { own: () => undefined } : followed,
    damage,
    proven: async (covered) => {
      await integrator.proven(covered, timeouts.appendMs);
    },
    timeouts,
    log: silent,
    size,
    onAppended: () => undefined,
  });
  return {
    journal,
    integrator,
    followed,
    log: openLogReader(pool, integrator, 500, damage),
    damage,
    close: async () => {
      await journal.close();
      await integrator.close();
      await followed.close();
      await pool.close();
    },
  };
}

/** Takes whatever stands in the database for what writers wrote. */
const believing: Pick<WrittenEntries, 'read' | 'note'> = {
  note: () => undefined,
  read: readUnchecked,
};

/** Reads entries without asking who wrote them. */
export async function readUnchecked(
  ask: Pool['ask'],
  from: number,
  below = Number.MAX_SAFE_INTEGER,
): ReturnType<WrittenEntries['read']> {
  const rows = await ask<{ entry: Uint8Array; leaf: Uint8Array }>(
    `select entry, sha256('\\x00'::bytea || entry) as leaf from log_entry where seq >= ? and seq < ? order by seq`,
    [from, below],
  );
  return { entries: rows, batches: [] };
}
