import { isForLog } from '../../log/note/audience.js';
import { getAskedKeys } from '../lookUp.js';
import { checkRecord } from '../checks/checkedRequest.js';
import type { Call, Escrow } from '../escrow.js';
import { actorOf } from '../escrow.js';
import { getOpenRecovery } from '../checks/openRecovery.js';
import { canonicalHash } from '../records/digests.js';
import { EscrowError } from '../records/errors.js';
import { isBlank, isPlain } from '../records/freeText.js';
import type { PrincipalId, RecoveryId } from '../records/ids.js';
import { aloneOn } from '../ports/journal.js';
import type { DecidedRequest } from '../checks/undecided.js';
import { decidedRequest } from '../checks/undecided.js';
import type { Policy } from '../records/policy.js';
import { hasRole } from '../records/principals.js';
import type { Recovery } from '../records/recovery.js';
import { CLOCK_SKEW_SECONDS, isStatement } from '../rules/statement.js';
import { STOP_TYPE } from '../records/statementTypes.js';

/** An administrator who wants a request ended, and why. */
interface Stop {
  readonly signer: PrincipalId;
  readonly reason: string;
}

/**
 * Administrators end a request of whomever, at any time before it is carried out: as many of them as would change the policy,
 * each by a signed statement about exactly this request. Needs no token. Of what was carried out, the grants are revoked.
 *
 * @throws EscrowError `recovery-unknown`, `recovery-ended`, `recovery-expired`, `forbidden`, `record-mismatch`,
 *   `stop-signature-invalid`, `approval-mismatch`, `approval-expired`, `stop-signatures-missing`.
 */
export async function stopRecovery(
  escrow: Escrow,
  call: Call,
  order: { readonly recovery: RecoveryId; readonly statements: readonly string[] },
): Promise<DecidedRequest> {
  const decided = await escrow.ledger.perform({
    act: 'recovery.stop',
    actor: actorOf(call),
    decide: async (about) => {
      const { recovery } = await getOpenRecovery(escrow, order.recovery, about);
      const { policy } = call;
      const stops: Stop[] = [];
      for (const jws of order.statements) stops.push(await checkStop(escrow, policy, recovery, jws));
      const signers = [...new Set(stops.map(({ signer }) => signer))].sort();
      const needed = escrow.directory.signersNeeded(policy);
      if (signers.length < needed) {
        throw new EscrowError(
          'stop-signatures-missing',
          `To end this request takes the statements of ${needed} different administrators, and this has ${signers.length}.`,
        );
      }
      const keys = await getAskedKeys(escrow, recovery);
      await checkRecord(escrow, recovery, keys);
      const reason = stops[0]?.reason ?? '';
      return {
        detail: { requestHash: recovery.requestHash, reason, signers, statements: order.statements },
        // that the signers are administrators, with these keys, when it is recorded, the caller's own claim says
        claims: [aloneOn(recovery)],
        plan: { recovery, keys, reason, signers },
      };
    },
    run: (_lent, { recovery, keys, reason, signers }) => {
      const stopped: Recovery = {
        ...recovery,
        revision: recovery.revision + 1,
        state: { status: 'cancelled', by: call.caller.id, reason, at: escrow.clock.now() },
      };
      return Promise.resolve({
        detail: { status: 'cancelled', signers },
        digest: canonicalHash(order.statements),
        changes: [{ change: 'recovery-saved', recovery: stopped }],
        answer: { recovery: stopped, keys },
        obsolete: { transport: recovery.id },
      });
    },
  });
  return decidedRequest(decided);
}

/** Whose statement it is, of the administrators that the directory lists now; all statements must be good ones. */
async function checkStop(
  { statements, clock, logKey }: Escrow,
  policy: Policy,
  recovery: Recovery,
  jws: string,
): Promise<Stop> {
  const thumbprint = statements.signerOf(jws, STOP_TYPE);
  const signer = [...policy.principals.values()].find(
    (person) => hasRole(person, 'admin') && person.keys.some((key) => key.thumbprint === thumbprint),
  );
  const verified = signer === undefined ? undefined : await statements.verify(jws, STOP_TYPE, signer.keys);
  if (signer === undefined || verified === undefined) throw new EscrowError('stop-signature-invalid');
  const { aud, iat, exp, reason, ...about } = verified.payload;
  const expected = { iss: signer.id, recovery: recovery.id, requestHash: recovery.requestHash };
  const isAbout = isForLog(aud, logKey) && isStatement(about, expected);
  if (!isAbout || typeof iat !== 'number' || typeof exp !== 'number') {
    throw new EscrowError('approval-mismatch');
  }
  if (typeof reason !== 'string' || reason.length > 1000 || isBlank(reason) || !isPlain(reason)) {
    throw new EscrowError(
      'approval-mismatch',
      'The statement gives a reason of at most 1,000 characters, all of which are seen.',
    );
  }
  const now = clock.now().getTime() / 1000;
  if (now >= exp || iat > now + CLOCK_SKEW_SECONDS) throw new EscrowError('approval-expired');
  return { signer: signer.id, reason };
}
