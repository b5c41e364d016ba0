import type { Escrow } from '../escrow.js';
import type { StoredEntry } from '../ports/log.js';
import { EscrowError } from '../records/errors.js';
import type { KeyId } from '../records/ids.js';
import { type RecoveryView } from './recoveries.js';

/** What a depositary checks before deciding: all entries are under one checkpoint. */
export interface DecisionProofs {
  readonly checkpoint: string;
  /** The entry that recorded the filing of the request. */
  readonly filing: ProvenEntry;
  /**
   * The entry that recorded the newest deposit of each key that the caller has a share of: its birth, or when it was last sealed
   * anew. Keys with one entry have the same value.
   */
  readonly deposited: ReadonlyMap<KeyId, ProvenEntry>;
}

/** An entry with its inclusion proof (RFC 6962). */
export interface ProvenEntry {
  readonly entry: StoredEntry;
  readonly proof: readonly Uint8Array[];
}

/**
 * The entries that say what was filed, and how each key was deposited last of which the viewer has a share, with their proofs;
 * EscrowError `log-unavailable` when one is not there, or no checkpoint covers it in time.
 */
export async function proofsOf(
  { log, followed }: Pick<Escrow, 'log' | 'followed'>,
  { recovery, keys }: RecoveryView,
): Promise<DecisionProofs> {
  const held = keys.flatMap(({ deposit, share }) => (share === undefined ? [] : [deposit.key]));
  // what was read are the newest deposits that the log has: see `getDeposits`
  const places = new Map(held.map((key) => [key, followed.facts.deposit(key)?.index]));
  const filed = required(await log.filing(recovery.id));
  const found = new Map<number, StoredEntry>();
  for (const index of new Set(places.values())) {
    const [entry] = index === undefined ? [] : await log.entries(index, 1);
    found.set(required(entry).index, required(entry));
  }
  const entries = [filed, ...found.values()];
  const { checkpoint, proofs } = await log.inclusions(
    entries.map(({ index }) => index),
    undefined,
  );
  const proven = new Map(entries.map((entry, at) => [entry.index, { entry, proof: proofs[at] ?? [] }]));
  const filing = proven.get(filed.index);
  if (filing === undefined || checkpoint === undefined) throw new EscrowError('log-unavailable');
  const deposited = [...places].flatMap(([key, index]) => {
    const one = proven.get(index ?? -1);
    return one === undefined ? [] : [[key, one] as const];
  });
  return { checkpoint, filing, deposited: new Map(deposited) };
}

/**
 * The entry at this index, which recorded an outcome, with its proof under the newest checkpoint. Undefined when it cannot be
 * proven in time: what was done is done, and whoever wants the proof asks for it again.
 */
export async function outcomeProof(
  { log }: Pick<Escrow, 'log'>,
  index: number,
): Promise<(ProvenEntry & { readonly checkpoint: string }) | undefined> {
  try {
    const { checkpoint, proofs } = await log.inclusions([index], undefined);
    const [entry] = await log.entries(index, 1);
    if (entry === undefined || checkpoint === undefined) return undefined;
    return { entry, proof: proofs[0] ?? [], checkpoint };
  } catch (error) {
    if (error instanceof EscrowError) return undefined;
    throw error;
  }
}

function required(entry: StoredEntry | undefined): StoredEntry {
  if (entry === undefined) throw new EscrowError('log-unavailable');
  return entry;
}
