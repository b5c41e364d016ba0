import { decodeEntry } from '../log/entry.js';
import type { Escrow } from './context.js';
import { isOpen } from './housekeeping.js';
import type { GrantId, RecoveryId } from './ids.js';
import { parseId } from './ids.js';
import type { Journal } from './journal.js';
import type { RaisedGrant, RecordedObjects, Token, UnaccountedObject } from './ports.js';
import { grantsNamedIn } from './recoverKey.js';

/**
 * The objects of the token that nothing accounts for: not the ceremony, no request that is open, no grant that runs, and no act
 * that makes one now and has said so in the log. What ends while it is looked for may be among them. Nothing is destroyed.
 * Throws, and this daemon stops, when the token is used on another copy of these records.
 */
export async function unaccountedObjects({
  escrow,
  token,
  journal,
}: {
  readonly escrow: Pick<Escrow, 'store' | 'ledger'>;
  readonly token: Pick<Token, 'unaccounted'>;
  readonly journal: Pick<Journal, 'openActs'>;
}): Promise<readonly UnaccountedObject[]> {
  const found = await token.unaccounted(() => recordedObjects(escrow, journal));
  if (found.length > 0) await escrow.ledger.requireOwnToken();
  return found;
}

/** Open acts are read first: one that is done by then has left its record. */
async function recordedObjects(
  { store }: Pick<Escrow, 'store'>,
  journal: Pick<Journal, 'openActs'>,
): Promise<RecordedObjects> {
  const transports = new Set<RecoveryId>();
  const grants = new Map<GrantId, RaisedGrant | undefined>();
  for (const { about, entry } of await journal.openActs()) {
    const named = [...grantsNamedIn(decodeEntry(entry)), ...(about.grant === undefined ? [] : [about.grant])];
    for (const name of named) {
      const id = parseId('GrantId', name);
      if (id !== undefined) grants.set(id, undefined);
    }
    const recovery = parseId('RecoveryId', about.recovery ?? '');
    if (recovery !== undefined) transports.add(recovery);
  }
  for (const { id, state } of await store.openRecoveries()) if (isOpen(state.status)) transports.add(id);
  for (const { id, spec, scope } of await store.openGrants())
    grants.set(id, { spec, uses: scope.operations, mechanisms: scope.mechanisms });
  return { transports, grants };
}
