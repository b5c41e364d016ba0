import type { Call, Escrow } from '../escrow.js';
import { loggedDeposits } from '../checks/loggedDeposit.js';
import type { DrillFact } from '../logged/drills.js';
import type { HeldShares } from '../logged/heldShares.js';
import type { Page, PageRequest } from '../ports/store.js';
import type { Deposit, PurposeDeposit, Share } from '../records/deposit.js';
import type { KeyId } from '../records/ids.js';
import type { StoredEntry } from '../ports/log.js';
import type { ProvenEntry } from './proofs.js';

/** A share of the caller, and all that is needed to drill it; what the database has of it, damaged or not. */
export interface DrillableShare {
  readonly deposit: Deposit;
  readonly sealed: PurposeDeposit;
  readonly share: Share;
  /** Index of the entry that recorded the newest deposit of the key. */
  readonly recordedAt: number;
  readonly drilled: DrillFact | undefined;
  readonly isDue: boolean;
}

/** One page of the shares of a depositary, with the entries that recorded them, all under one checkpoint. */
export interface DrillPage extends Page<DrillableShare> {
  readonly entries: readonly ProvenEntry[];
  /** Undefined where there are no entries. */
  readonly checkpoint: string | undefined;
  /**
   * What the log says that there is: on the first page of all, and of one key that is asked for. Keys whose records are missing from
   * the pages have lost them.
   */
  readonly held: HeldShares | undefined;
}

/** The caller's shares, newest keys first; those of one key, where it is given. */
export async function listDrillable(
  escrow: Escrow,
  { caller }: Pick<Call, 'caller'>,
  { key, page }: { readonly key?: KeyId | undefined; readonly page: PageRequest },
): Promise<DrillPage> {
  await escrow.followed.caughtUp();
  const { facts } = escrow.followed;
  const sinceMs = escrow.clock.now().getTime() - escrow.drillEveryMs;
  const isCounted = key !== undefined || page.after === undefined;
  const held = isCounted ? facts.heldBy(caller.id, sinceMs, key) : undefined;
  const { items, next } =
    key === undefined
      ? await escrow.store.deposits({ depositary: caller.id }, page)
      : { items: await escrow.store.findDeposits([key]), next: undefined };
  // a row of a key that was never born is nobody's
  const deposits = items.filter((deposit) => facts.deposit(deposit.key) !== undefined);
  const logged = await loggedDeposits(
    escrow,
    deposits.map((deposit) => deposit.key),
  );
  const shares = deposits.flatMap((deposit, at) =>
    deposit.purposes.flatMap((sealed): readonly DrillableShare[] => {
      const share = sealed.shares.find(({ depositary }) => depositary === caller.id);
      const recordedAt = logged[at]?.entry.index;
      const recorded = logged[at]?.recorded.shares;
      // a row can say that somebody has a share; the log knows it
      const isHeld = recorded === undefined || recorded.get(sealed.purpose)?.has(caller.id) === true;
      if (share === undefined || recordedAt === undefined || !isHeld) return [];
      const drilled = facts.drill(deposit.key, sealed.purpose, caller.id);
      const isDue = drilled?.isOpened !== true || (drilled.atMs ?? 0) < sinceMs;
      return [{ deposit, sealed, share, recordedAt, drilled, isDue }];
    }),
  );
  const wanted = new Set(shares.map(({ recordedAt }) => recordedAt));
  const proven = await provenEntries(
    escrow,
    logged.map(({ entry }) => entry).filter(({ index }) => wanted.has(index)),
  );
  return { items: shares, next, held, ...proven };
}

async function provenEntries(
  { log }: Pick<Escrow, 'log'>,
  found: readonly StoredEntry[],
): Promise<Pick<DrillPage, 'entries' | 'checkpoint'>> {
  const entries = [...new Map(found.map((entry) => [entry.index, entry])).values()];
  if (entries.length === 0) return { entries: [], checkpoint: undefined };
  const { checkpoint, proofs } = await log.inclusions(
    entries.map(({ index }) => index),
    undefined,
  );
  return { entries: entries.map((entry, at) => ({ entry, proof: proofs[at] ?? [] })), checkpoint };
}
