import { decodeEntry } from '../../log/entry/entry.js';
import type { Escrow } from '../escrow.js';
import type { StoredEntry } from '../ports/log.js';
import { type RecordedDeposit, recordedDeposit } from '../records/drills/drilling.js';
import { EscrowError } from '../records/errors.js';
import type { KeyId } from '../records/ids.js';

/** The newest deposit of a key, as the entry says that recorded it. */
export interface LoggedDeposit {
  readonly key: KeyId;
  readonly recorded: RecordedDeposit;
  readonly entry: StoredEntry;
}

/**
 * What the log says of the newest deposits of these keys, in their order; whatever their rows say.
 *
 * @throws EscrowError `key-unknown`; `record-mismatch` when the entry of one is not what was followed
 */
export async function loggedDeposits(
  { followed, log }: Pick<Escrow, 'followed' | 'log'>,
  keys: readonly KeyId[],
): Promise<readonly LoggedDeposit[]> {
  // another daemon may have made one of them just now
  await followed.caughtUp();
  // keys that were sealed anew together have one entry
  const read = new Map<number, StoredEntry>();
  const found: LoggedDeposit[] = [];
  for (const key of keys) {
    const fact = followed.facts.deposit(key);
    if (fact === undefined) throw new EscrowError('key-unknown', `There is no key ${key}.`);
    const entry = read.get(fact.index) ?? (await log.entries(fact.index, 1))[0];
    const recorded = entry === undefined ? undefined : recordedDeposit(decodeEntry(entry.entry), key);
    const isFollowed = recorded?.digest === fact.digest && recorded.generation === fact.generation;
    if (entry?.index !== fact.index || recorded === undefined || !isFollowed) {
      throw new EscrowError('record-mismatch', 'The log has another entry of a deposit than it had.');
    }
    read.set(fact.index, entry);
    found.push({ key, recorded, entry });
  }
  return found;
}
