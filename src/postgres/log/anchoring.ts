import { canonicalHash } from '../../escrow/records/digests.js';
import type { Anchorage } from '../../escrow/ports/log.js';
import type { Anchor, TreeHead } from '../../log/anchor.js';
import type { Json } from '../../log/entry/canonical.js';
import type { Checkpoint } from '../../log/note/checkpoint.js';
import { sameBytes } from '../../log/tree/merkle.js';
import { rootOf } from '../../log/tree/prover.js';
import type { Damage } from '../damage.js';
import { LogDamaged } from '../faults.js';
import { hashesOf } from './treeHashes.js';
import type { Ask, Pool } from '../pool.js';

/**
 * Checks that the log and the policy in the database are those that are remembered elsewhere, or have grown out of them.
 * `signed` is the newest checkpoint, which the stored tree has been checked against; `unsigned` is where the database says
 * that entries without a writer end. Throws LogDamaged with a sentence
 * for the operator when the database is an older copy, or another one.
 */
export async function requireAnchored(
  ask: Ask,
  { signed, unsigned }: { readonly signed: Checkpoint; readonly unsigned: number },
  anchor: Anchor,
): Promise<void> {
  if (signed.size < anchor.size) {
    throw new LogDamaged(
      `the newest checkpoint in the database is over ${signed.size} entries, and the token remembers one over ` +
        `${anchor.size}: this is an older copy of the database, or a daemon uses this token on another one. ${WHAT_TO_DO}`,
    );
  }
  const root = await rootOf(hashesOf(ask, anchor.size), anchor.size);
  if (!sameBytes(root, anchor.root)) {
    throw new LogDamaged(
      `the first ${anchor.size} of the ${signed.size} entries in the database are not those that the token remembers: ` +
        `this is the database of another log, or a copy beside which another one is in use, or it was changed. ${WHAT_TO_DO}`,
    );
  }
  if (anchor.unsigned !== undefined && anchor.unsigned !== unsigned) {
    throw new LogDamaged(
      `in the database ${unsigned} entries need no writer, and the token remembers ${anchor.unsigned}: it was changed. ${WHAT_TO_DO}`,
    );
  }
  const { policy } = anchor;
  if (policy !== undefined && (await policyOf(ask, policy.version))?.hash !== policy.hash) {
    throw new LogDamaged(
      `the database does not hold version ${policy.version} of the policy, which the token remembers: it was put back ` +
        `to an older one, or changed. ${WHAT_TO_DO}`,
    );
  }
}

/** For the operator, when a database is not what it must be. */
export const WHAT_TO_DO =
  'Restore the newest copy there is; if what came after it is lost for good, see "An old database" in docs/operations.md.';

/** A policy by its own words, whatever hash stands beside it. */
async function policyOf(ask: Ask, version: number | 'newest'): Promise<Anchor['policy']> {
  const [row] = await ask<{ version: number; document: string }>(
    version === 'newest'
      ? 'select version, document from policy order by version desc limit 1'
      : 'select version, document from policy where version = ?',
    version === 'newest' ? [] : [version],
  );
  return row === undefined
    ? undefined
    : { version: row.version, hash: canonicalHash(JSON.parse(row.document) as Json) };
}

export interface AnchorKeeperOptions {
  readonly pool: Pool;
  readonly anchorage: Anchorage;
  readonly damage: Damage;
  /** The newest tree that is signed, as `ask` sees it. Throws LogDamaged. */
  readonly readSigned: (ask: Ask) => Promise<Checkpoint>;
  /** Resolves when a checkpoint covers `size` entries. */
  readonly covering: (size: number) => Promise<unknown>;
  readonly unsigned: number;
  readonly everyMs: number;
  /** Done before each anchor that is made by itself. Never rejects. */
  readonly before: () => Promise<void>;
  readonly log: { warn(message: string): void };
}

/**
 * Has the newest checkpoint remembered outside the database, at intervals and at the end. What is remembered there must be of
 * this log each time: when it is not, a daemon works on another copy of the database with the same token, and this one has
 * found damage, remembers nothing more, and stops. The other finds the same when this one was ahead.
 */
export class AnchorKeeper {
  readonly #options: AnchorKeeperOptions;
  readonly #timer: NodeJS.Timeout;
  #running: Promise<void> | undefined;
  #turn: Promise<void> | undefined;
  #anchoredSize = -1;
  #lastFault: Error | undefined;
  #recorded: { readonly lost: TreeHead; readonly index: number } | undefined;

  constructor(options: AnchorKeeperOptions) {
    this.#options = options;
    this.#timer = setInterval(() => {
      this.#turn ??= options
        .before()
        .then(() => this.#refresh())
        .finally(() => (this.#turn = undefined));
    }, options.everyMs);
  }

  /** Says that the log has an entry, at this index, of a loss that people accepted: it is forgotten with the next anchor that covers it. */
  recorded(lost: TreeHead, index: number): void {
    this.#recorded = { lost, index };
  }

  /** Resolves when the entry at this index is in what is remembered. Throws what keeps it from that. */
  async through(index: number): Promise<void> {
    await this.#options.covering(index + 1);
    while (this.#anchoredSize <= index) {
      await this.#running;
      await this.#refresh();
      if (this.#lastFault !== undefined) throw this.#lastFault;
    }
  }

  /** Checks that what is remembered is of this log. Throws LogDamaged, EscrowError `token-unavailable` or `store-unavailable`. */
  async requireOwn(): Promise<Checkpoint> {
    const { pool, anchorage, damage, readSigned, unsigned } = this.#options;
    damage.requireNone();
    // read first: what another daemon of this database adds meanwhile to both does no harm
    const anchor = await anchorage.readAnchor();
    try {
      return await pool.snapshot(async (ask) => {
        const signed = await readSigned(ask);
        await requireAnchored(ask, { signed, unsigned }, anchor);
        return signed;
      });
    } catch (error) {
      if (error instanceof LogDamaged) damage.found(error);
      throw error;
    }
  }

  /** Has it remembered a last time, if that can be done, and stops. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#turn;
    await this.#running;
    await this.#refresh();
  }

  #refresh(): Promise<void> {
    this.#running ??= this.#write().finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  async #write(): Promise<void> {
    const { pool, anchorage, unsigned, log } = this.#options;
    try {
      const policy = await policyOf(pool.ask, 'newest');
      const { size, root } = await this.requireOwn();
      if (size > this.#anchoredSize) {
        const { lost, index = size } = this.#recorded ?? {};
        const recorded = index < size ? lost : undefined;
        await anchorage.writeAnchor({ size, root, policy, unsigned, recorded });
        this.#anchoredSize = size;
      }
      this.#lastFault = undefined;
    } catch (error) {
      const fault = error instanceof Error ? error : new Error(String(error));
      if (fault.message !== this.#lastFault?.message)
        log.warn(`the log's anchor in the token is not up to date: ${fault.message}`);
      this.#lastFault = fault;
    }
  }
}
