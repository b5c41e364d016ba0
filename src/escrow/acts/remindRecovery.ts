import type { CheckedRequest } from '../checks/checkedRequest.js';
import { checkRequest, countedStatus, repliesFrom, whileLogged } from '../checks/checkedRequest.js';
import type { Escrow } from '../escrow.js';
import { EscrowError } from '../records/errors.js';
import type { PrincipalId, RecoveryId } from '../records/ids.js';
import type { Subject } from '../../log/entry/entry.js';
import { aloneOn } from '../ports/journal.js';
import { getOpenRecovery } from '../checks/openRecovery.js';
import { DAEMON } from '../ledger/act.js';
import { brakesOfAll } from '../rules/requestTerms.js';
import type { Recovery } from '../records/recovery.js';

/** A request with depositaries to be told that its delay is over. */
interface Due extends CheckedRequest {
  readonly depositaries: readonly PrincipalId[];
}

/** Whether somebody has said, by the log, that they intend to approve this request, and was not reminded since. Costs nothing. */
export function mayBeReminded({ followed }: Pick<Escrow, 'followed'>, id: RecoveryId): boolean {
  const facts = followed.facts.request(id);
  if (facts === undefined) return false;
  const { intents, reminded, denials } = facts;
  return [...intents.keys()].some((one) => !reminded.has(one) && !denials.has(one));
}

/**
 * Records, of a request that takes replies after the delay, whom to tell that it is over: each depositary whose intent counts,
 * whose approval is taken now and does not count yet, and who was not told since that intent. Resolves with whether there was
 * anybody. The notices follow from the entry. Safe beside other daemons: one of them records it.
 *
 * @throws EscrowError `busy`, `recovery-ended`, `recovery-expired`, `record-mismatch`, and as the log does
 */
export async function remindRecovery(escrow: Escrow, id: RecoveryId): Promise<boolean> {
  // what is not due is not attempted
  if ((await findDue(escrow, id, () => undefined)) === undefined) return false;
  try {
    await record(escrow, id);
    return true;
  } catch (error) {
    if (error instanceof TheyWereTold) return false;
    throw error;
  }
}

/** Another daemon has recorded it meanwhile. */
class TheyWereTold extends EscrowError {
  constructor() {
    super('busy');
  }
}

async function record(escrow: Escrow, id: RecoveryId): Promise<void> {
  await escrow.ledger.perform({
    act: 'recovery.remind',
    actor: DAEMON,
    decide: async (about) => {
      const due = await findDue(escrow, id, about);
      if (due === undefined) throw new TheyWereTold();
      const { recovery, facts, policy, depositaries } = due;
      return {
        detail: { requestHash: recovery.requestHash, depositaries },
        // by whose keys the intents were counted
        claims: [aloneOn(recovery), { claim: 'policy-in-force', version: policy.version }],
        holds: whileLogged(facts),
        plan: due,
      };
    },
    run: (_lent, { recovery, depositaries }) => {
      // another revision: whoever has read it before decides anew
      const reminded: Recovery = { ...recovery, revision: recovery.revision + 1 };
      return Promise.resolve({
        detail: { depositaries },
        digest: recovery.requestHash,
        changes: [{ change: 'recovery-saved', recovery: reminded }],
        answer: undefined,
      });
    },
  });
}

async function findDue(
  escrow: Escrow,
  id: RecoveryId,
  about: (subject: Subject) => void,
): Promise<Due | undefined> {
  const { recovery, status } = await getOpenRecovery(escrow, id, about);
  const request = await checkRequest(escrow, recovery);
  const { keys, approvals, intents, facts } = request;
  if (brakesOfAll(keys).replies !== 'afterDelay') return undefined;
  if (countedStatus(status, keys, approvals) === 'approved') return undefined;
  const now = escrow.clock.now();
  const depositaries = intents
    .map(({ depositary }) => depositary)
    .filter((one) => !facts.reminded.has(one) && !approvals.some(({ depositary }) => depositary === one))
    .filter((one) => now >= (repliesFrom(request, one) ?? NEVER))
    .sort();
  return depositaries.length === 0 ? undefined : { ...request, depositaries };
}

const NEVER = new Date(8.64e15);
