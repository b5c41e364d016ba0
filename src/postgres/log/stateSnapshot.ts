import { hash } from 'node:crypto';
import { serialize } from 'node:v8';
import type { Certifier } from '../../escrow/ports/signers.js';
import type { Clock } from '../../escrow/ports/clock.js';
import { decodeBase64, encodeBase64 } from '../../log/note/base64.js';
import type { Checkpoint } from '../../log/note/checkpoint.js';
import { sameBytes } from '../../log/tree/merkle.js';
import { rootOf } from '../../log/tree/prover.js';
import { readState, stateInput } from '../../log/statements/state.js';
import { WHAT_TO_DO } from './anchoring.js';
import type { Damage } from '../damage.js';
import { LogDamaged } from '../faults.js';
import type { FollowedLog } from './followed.js';
import type { FollowedState, StateSnapshot } from './followedState.js';
import type { Integrator } from './integrator.js';
import { hashesOf } from './treeHashes.js';
import type { Ask, Pool } from '../pool.js';

export interface SnapshotChecks {
  /** The vkey of the log. */
  readonly log: string;
  /** DER SubjectPublicKeyInfo of the token's identity key. */
  readonly identityKey: Uint8Array;
  readonly release: string;
}

/**
 * The snapshot that stands in the database, when it can be gone on from: the identity key has signed this very state, of a tree
 * that the log here has grown out of, and this release of the program has made it. How old it is does not matter: every entry
 * behind it is read. Undefined when it is none of these: then every entry there is is read. `signed` is the newest checkpoint, which the stored tree was checked
 * against. Throws LogDamaged when the identity key has signed a state of entries that are not there, or are others.
 */
export async function findSnapshot(
  ask: Ask,
  checks: SnapshotChecks,
  signed: Checkpoint,
): Promise<StateSnapshot | undefined> {
  const [row] = await ask<{ statement: string; state: Uint8Array }>(
    'select statement, state from log_state where id = 1',
  );
  const claims = row === undefined ? undefined : readState(row.statement, checks);
  const root = decodeBase64(claims?.root ?? '');
  if (row === undefined || claims === undefined || root === undefined) return undefined;
  const { size, state, release } = claims;
  if (size > signed.size) {
    throw new LogDamaged(
      `the newest checkpoint in the database is over ${signed.size} entries, and there was one over ${size}: entries are ` +
        `gone, or this is an older copy of the database. ${WHAT_TO_DO}`,
    );
  }
  if (!sameBytes(await rootOf(hashesOf(ask, size), size), root)) {
    throw new LogDamaged(
      `the first ${size} of the ${signed.size} entries in the database are not those whose state was signed: it was changed, ` +
        `or this is another copy. ${WHAT_TO_DO}`,
    );
  }
  const isBelieved = release === checks.release && hash('sha256', row.state, 'hex') === state;
  return isBelieved ? { size, root, state: row.state } : undefined;
}

export interface SnapshotKeeperOptions {
  readonly pool: Pool;
  readonly checks: SnapshotChecks;
  readonly certifier: Certifier;
  readonly clock: Clock;
  readonly damage: Damage;
  readonly followed: Pick<FollowedLog, 'next'>;
  readonly integrator: Pick<Integrator, 'rootAt' | 'proven'>;
  readonly state: FollowedState;
  /** For the checkpoint that covers what the state is of. */
  readonly timeoutMs: number;
  readonly log: { warn(message: string): void };
  /** How many entries a snapshot that is kept is of; 0 without one. */
  readonly size: number;
}

/** A state of more bytes is kept less often, and one of very many only at the end: writing it down holds up what else goes on. */
const LARGE_BYTES = 1024 * 1024;
const VERY_LARGE_BYTES = 8 * LARGE_BYTES;
const LARGE_EVERY = 5_000;
/** Who stops waits so long for a checkpoint: the next start can read what is missing. */
const LAST_WAIT_MS = 2_000;

/** Keeps the state in the database now and then, signed, for the next start. */
export class SnapshotKeeper {
  readonly #options: SnapshotKeeperOptions;
  #size: number;
  #bytes = 0;
  #lastFault: string | undefined;

  constructor(options: SnapshotKeeperOptions) {
    this.#options = options;
    this.#size = options.size;
  }

  /** Keeps the state as it is now, unless it has hardly grown. Never rejects: the next start reads more, that is all. */
  async keep(when: 'now and then' | 'at the end'): Promise<void> {
    const grown = this.#options.followed.next - this.#size;
    if (grown < (when === 'at the end' ? 1 : this.#entriesBetween())) return;
    try {
      const { timeoutMs } = this.#options;
      await this.#keep(when === 'at the end' ? Math.min(timeoutMs, LAST_WAIT_MS) : timeoutMs);
      this.#lastFault = undefined;
    } catch (error) {
      const fault = error instanceof Error ? error.message : String(error);
      if (fault !== this.#lastFault) this.#options.log.warn(`the log's state cannot be kept: ${fault}`);
      this.#lastFault = fault;
    }
  }

  #entriesBetween(): number {
    if (this.#bytes > VERY_LARGE_BYTES) return Infinity;
    return this.#bytes > LARGE_BYTES ? LARGE_EVERY : 1;
  }

  async #keep(timeoutMs: number): Promise<void> {
    const { pool, checks, certifier, clock, damage, followed, integrator } = this.#options;
    // in one turn of the event loop: the state is of exactly these entries
    const size = followed.next;
    const root = integrator.rootAt(size);
    const state = serialize(this.#options.state.save());
    await integrator.proven(size, timeoutMs);
    damage.requireNone();
    const input = stateInput({
      aud: checks.log,
      iat: Math.floor(clock.now().getTime() / 1000),
      release: checks.release,
      size,
      root: encodeBase64(root),
      state: hash('sha256', state, 'hex'),
    });
    const signature = Buffer.from(await certifier.attest(Buffer.from(input, 'ascii'))).toString('base64url');
    await pool.ask(
      `insert into log_state (id, statement, state) values (1, ?, ?)
       on conflict (id) do update set statement = excluded.statement, state = excluded.state`,
      [`${input}.${signature}`, state],
    );
    this.#size = size;
    this.#bytes = state.length;
  }
}
