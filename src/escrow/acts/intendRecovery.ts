import { brakesOfAll } from '../rules/requestTerms.js';
import { repliesFrom, whileLogged } from '../checks/checkedRequest.js';
import type { Call, Escrow } from '../escrow.js';
import { actorOf } from '../escrow.js';
import { sha256Hex } from '../records/digests.js';
import { EscrowError } from '../records/errors.js';
import type { PrincipalId, RecoveryId } from '../records/ids.js';
import { aloneOn } from '../ports/journal.js';
import type { Recovery } from '../records/recovery.js';
import { checkStatement, requireOwnTree } from '../rules/statement.js';
import type { DecidedRequest, Undecided } from '../checks/undecided.js';
import { decidedRequest, getUndecided } from '../checks/undecided.js';

/**
 * A depositary says that they intend to approve, where the rule of a key has replies after the delay: a signed statement, and
 * nothing that could open anything. The delay begins with the intent that completes a quorum for every key; who intends to
 * approve can still deny, and then their intent counts no more.
 *
 * @throws EscrowError `recovery-unknown`, `recovery-ended`, `recovery-expired`, `forbidden`, `record-mismatch`,
 *   `intent-not-needed`, `approval-duplicate`, `approval-signature-invalid`, `approval-mismatch`, `approval-expired`,
 *   `approval-too-long`.
 */
export async function intendRecovery(
  escrow: Escrow,
  call: Call,
  order: { readonly recovery: RecoveryId; readonly statement: string },
): Promise<DecidedRequest> {
  const depositary = call.caller.id;
  const decided = await escrow.ledger.perform({
    act: 'recovery.intend',
    actor: actorOf(call),
    decide: async (about) => {
      const found = await getUndecided(escrow, call, order.recovery, about);
      const { recovery, keys, intents } = found;
      if (brakesOfAll(keys).replies !== 'afterDelay') throw new EscrowError('intent-not-needed');
      if (intents.some((intent) => intent.depositary === depositary)) {
        throw new EscrowError(
          'approval-duplicate',
          'This depositary has already said that they intend to approve.',
        );
      }
      const said = await checkStatement(escrow, call.caller, recovery, order.statement, 'intend');
      await requireOwnTree(escrow.log, said.tree);
      return {
        detail: { requestHash: recovery.requestHash, statement: order.statement },
        // by whose keys the others' intents were counted
        claims: [aloneOn(recovery)],
        holds: whileLogged(found.facts),
        plan: { ...found, expiresAt: said.expiresAt },
      };
    },
    run: (_lent, { recovery, keys, intents: counted, facts, expiresAt }) => {
      const { statement } = order;
      const at = escrow.clock.now();
      const intent = { depositary, statement, at, expiresAt };
      const intents = [...recovery.intents.filter((one) => one.depositary !== depositary), intent];
      const intended: Recovery = { ...recovery, revision: recovery.revision + 1, intents };
      const logged = { statement: sha256Hex(statement), atMs: at.getTime() };
      const from = repliesFrom({
        keys,
        intents: [...counted, intent],
        facts: { ...facts, intents: new Map([...facts.intents, [depositary, logged]]) },
      });
      return Promise.resolve({
        detail: {
          intendedAt: at.toISOString(),
          expiresAt: expiresAt.toISOString(),
          ...(from === undefined ? {} : { repliesFrom: from.toISOString() }),
        },
        digest: sha256Hex(statement),
        changes: [{ change: 'recovery-saved', recovery: intended }],
        answer: { recovery: intended, keys },
      });
    },
  });
  return decidedRequest(decided);
}

/**
 * Requires that the replies of this depositary may be taken now: always, but where the rule of a key has them after the delay.
 *
 * @throws EscrowError `intents-incomplete`, `delay-running`
 */
export function requireDelayOver(
  request: Pick<Undecided, 'keys' | 'intents' | 'facts'>,
  depositary: PrincipalId,
  now: Date,
): void {
  if (brakesOfAll(request.keys).replies !== 'afterDelay') return;
  const from = repliesFrom(request, depositary);
  if (from === undefined) throw new EscrowError('intents-incomplete');
  if (now < from) {
    throw new EscrowError(
      'delay-running',
      `Replies are taken from ${from.toISOString()}; nothing was kept of these.`,
    );
  }
}
