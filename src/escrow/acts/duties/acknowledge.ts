import { isForLog } from '../../../log/note/audience.js';
import { type Call, type Escrow, actorOf } from '../../escrow.js';
import type { Recorded } from '../../ledger/act.js';
import { sha256Hex } from '../../records/digests.js';
import { EscrowError } from '../../records/errors.js';
import { hasRole } from '../../records/principals.js';
import { ACKNOWLEDGEMENT_TYPE } from '../../records/statementTypes.js';
import { CLOCK_SKEW_SECONDS, isStatement } from '../../rules/statement.js';

/** What a depositary says to have read, and by which policy. */
export interface Acknowledgement {
  /** A role of theirs. */
  readonly role: string;
  /** SHA-256 (hex) of the text of the duties. */
  readonly text: string;
  /** The version of the policy that was in force when they signed it, and is. */
  readonly policyVersion: number;
}

/** At most so long after it was signed it is taken. */
const MAX_LIFETIME_SECONDS = 3600;

/**
 * A depositary acknowledges their duties: their signed statement about a text and a role of theirs stands in the log. It counts for
 * the policy in force alone, so one from before is not taken again. Needs no token; nothing else follows from it.
 *
 * @throws EscrowError `approval-signature-invalid`, `approval-mismatch` (somebody else's, of another log, or more or less than
 *   {@link Acknowledgement}), `approval-expired`, `forbidden` (it is no role of theirs), `policy-stale`.
 */
export function acknowledge(
  escrow: Escrow,
  call: Call,
  order: { readonly statement: string },
): Promise<Recorded<Acknowledgement>> {
  const { caller, policy } = call;
  return escrow.ledger.perform({
    act: 'depositary.acknowledge',
    actor: actorOf(call),
    decide: async () => {
      const verified = await escrow.statements.verify(order.statement, ACKNOWLEDGEMENT_TYPE, caller.keys);
      if (verified === undefined) throw new EscrowError('approval-signature-invalid');
      const { aud, iat, exp, ...about } = verified.payload;
      const { role, text, policyVersion } = about;
      const isWhole =
        isForLog(aud, escrow.logKey) &&
        typeof role === 'string' &&
        typeof text === 'string' &&
        /^[0-9a-f]{64}$/.test(text) &&
        typeof policyVersion === 'number' &&
        isStatement(about, { iss: caller.id, role, text, policyVersion });
      if (!isWhole || typeof iat !== 'number' || typeof exp !== 'number') throw mismatch();
      const now = escrow.clock.now().getTime() / 1000;
      const isOver = now >= exp || exp - iat > MAX_LIFETIME_SECONDS;
      if (isOver || iat > now + CLOCK_SKEW_SECONDS) throw new EscrowError('approval-expired');
      if (!hasRole(caller, role)) throw new EscrowError('forbidden', 'That is no role of the caller.');
      if (policyVersion !== policy.version)
        throw new EscrowError('policy-stale', 'The policy has changed since the statement was signed.');
      const said: Acknowledgement = { role, text, policyVersion };
      return {
        detail: { ...said, statement: order.statement },
        claims: [{ claim: 'policy-in-force', version: policy.version }],
        plan: said,
      };
    },
    run: (_lent, said) =>
      Promise.resolve({
        detail: { ...said },
        digest: sha256Hex(order.statement),
        changes: [],
        answer: said,
      }),
  });
}

function mismatch(): EscrowError {
  return new EscrowError('approval-mismatch', 'The statement is not the caller’s about their duties here.');
}
