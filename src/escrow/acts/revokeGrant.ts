import { checkEnded, checkLoggedGrant } from '../rules/checkedGrant.js';
import { type Escrow, type Call, actorOf } from '../escrow.js';
import type { Recorded } from '../ledger/act.js';
import { getGrant, getDeposit } from '../lookUp.js';
import { isDepositaryOf } from '../records/deposit.js';
import { sha256Hex } from '../records/digests.js';
import { EscrowError } from '../records/errors.js';
import type { Grant } from '../records/grant.js';
import type { GrantId } from '../records/ids.js';
import { hasRole } from '../records/principals.js';
import { checkLive, endOf, subjectOf } from '../rules/liveGrant.js';

/**
 * Ends a grant at once. For its owner, administrators, and the depositaries of its key.
 *
 * @throws EscrowError `grant-unknown`, `forbidden`, `grant-revoked`, `grant-expired`, `grant-exhausted`, `record-mismatch`.
 */
export function revokeGrant(
  escrow: Escrow,
  call: Call,
  order: { readonly grant: GrantId; readonly reason: string },
): Promise<Recorded<Grant>> {
  return escrow.ledger.perform({
    act: 'grant.revoke',
    actor: actorOf(call),
    decide: async (about) => {
      about({ grant: order.grant });
      const now = escrow.clock.now();
      const grant = await getGrant(escrow, order.grant).catch(async (unknown: unknown) => {
        await checkEnded(escrow, order.grant, now);
        throw unknown;
      });
      about(subjectOf(grant));
      // whose it is decides who may end it, and whom its entry is about
      if (endOf(grant, now) === undefined) await checkLoggedGrant(escrow, grant);
      else await checkEnded(escrow, grant.id, now);
      const deposit = await getDeposit(escrow, grant.key);
      const mayRevoke =
        grant.owner === call.caller.id ||
        hasRole(call.caller, 'admin') ||
        deposit.purposes.some((purpose) => isDepositaryOf(purpose, call.caller.id));
      if (!mayRevoke) throw new EscrowError('forbidden');
      checkLive(grant, now);
      return { detail: { reason: order.reason }, claims: [], plan: grant };
    },
    run: (_lent, grant) =>
      Promise.resolve({
        detail: { status: 'revoked', used: grant.used },
        digest: sha256Hex(grant.id),
        changes: [{ change: 'grant-ended', grant: grant.id, status: 'revoked' }],
        answer: { ...grant, status: 'revoked' },
        obsolete: { grant: grant.id },
      }),
  });
}
