import type { Escrow } from '../../escrow.js';
import { DAEMON } from '../../ledger/act.js';
import { sha256Hex } from '../../records/digests.js';
import { EscrowError } from '../../records/errors.js';
import { type ImportId, idsOf } from '../../records/ids.js';
import type { Settling } from '../settling.js';

/** Ends the import pairs that are too old, and resolves with how many these were. */
export async function expireImports(escrow: Escrow, settling: Settling): Promise<number> {
  const { facts } = escrow.followed;
  let expired = 0;
  for (const id of idsOf('ImportId', facts.importPairIds())) {
    const isDue = (): boolean => {
      const pair = facts.importPair(id);
      return pair !== undefined && escrow.clock.now().getTime() >= pair.expiresAtMs;
    };
    if (await settling.settle({ id, isDue, settle: () => expire(escrow, id) })) expired += 1;
  }
  return expired;
}

async function expire(escrow: Escrow, id: ImportId): Promise<void> {
  await escrow.ledger.perform({
    act: 'import.expire',
    actor: DAEMON,
    decide: () =>
      Promise.resolve({
        detail: { import: id },
        claims: [],
        // another daemon may have been first, or whoever it was for
        holds: ({ imports }) => {
          if (imports?.pair === undefined) throw new EscrowError('busy');
        },
        plan: undefined,
      }),
    run: () =>
      Promise.resolve({
        detail: { import: id },
        digest: sha256Hex(id),
        changes: [],
        answer: undefined,
        obsolete: { importPair: id },
      }),
  });
}
