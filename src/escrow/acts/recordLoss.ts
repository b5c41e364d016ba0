import type { TreeHead } from '../../log/anchor.js';
import { encodeBase64 } from '../../log/note/base64.js';
import type { Escrow } from '../escrow.js';
import { sha256Hex } from '../records/digests.js';
import { DAEMON } from '../ledger/act.js';

/**
 * Writes into the log that entries of it are gone: people accepted, by the ceremony, that the database lost what the token
 * remembered. Returns where it is said.
 */
export async function recordLoss(
  escrow: Pick<Escrow, 'ledger'>,
  lost: TreeHead,
): Promise<{ readonly index: number }> {
  const detail = { size: lost.size, root: encodeBase64(lost.root) };
  return escrow.ledger.perform({
    act: 'log.loss',
    actor: DAEMON,
    decide: () => Promise.resolve({ detail, claims: [], plan: undefined }),
    run: () =>
      Promise.resolve({
        detail,
        digest: sha256Hex(`${detail.size}\n${detail.root}`),
        changes: [],
        answer: undefined,
      }),
  });
}
