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
  /** The entries that recorded the births of the keys that the caller has a share of. */
  readonly births: ReadonlyMap<KeyId, ProvenEntry>;
}

/** An entry with its inclusion proof (RFC 6962). */
export interface ProvenEntry {
  readonly entry: StoredEntry;
  readonly proof: readonly Uint8Array[];
}

/**
 * The entries that say what was filed, and how each key was deposited of which the viewer has a share, with their proofs;
 * EscrowError `log-unavailable` when one is not there, or no checkpoint covers it in time.
 */
export async function proofsOf(
  { log }: Pick<Escrow, 'log'>,
  { recovery, keys }: RecoveryView,
): Promise<DecisionProofs> {
  const held = keys.flatMap(({ deposit, share }) => (share === undefined ? [] : [deposit.key]));
  const entries = [required(await log.filing(recovery.id))];
  for (const key of held) entries.push(required(await log.birth(key)));
  const { checkpoint, proofs } = await log.inclusions(
    entries.map(({ index }) => index),
    undefined,
  );
  const [filing, ...births] = entries.map((entry, at) => ({ entry, proof: proofs[at] ?? [] }));
  if (filing === undefined || checkpoint === undefined) throw new EscrowError('log-unavailable');
  return {
    checkpoint,
    filing,
    births: new Map(births.flatMap((birth, at) => (held[at] === undefined ? [] : [[held[at], birth]]))),
  };
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
