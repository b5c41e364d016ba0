import type { CheckedRequest } from '../checks/checkedRequest.js';
import { checkRequest, countedStatus, repliesFrom, whileLogged } from '../checks/checkedRequest.js';
import type { Escrow } from '../escrow.js';
import { sha256Hex } from '../records/digests.js';
import { EscrowError } from '../records/errors.js';
import type { PrincipalId, RecoveryId } from '../records/ids.js';
import type { Subject } from '../../log/entry/entry.js';
import { aloneOn } from '../ports/journal.js';
import { getOpenRecovery } from '../checks/openRecovery.js';
import { DAEMON } from '../ledger/act.js';
import { brakesOfAll } from '../rules/requestTerms.js';
import type { Recovery } from '../records/recovery.js';
import { INTENT_TYPE } from '../records/statementTypes.js';

/** A request that takes replies after the delay and is not approved, and who is to be told that it is over: nobody, as long as it runs. */
interface Awaited extends CheckedRequest {
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
 * @throws EscrowError `busy`, `recovery-ended`, `recovery-expired`, `record-mismatch` (also where nobody else is to be told, and the
 *   record leaves out an intent that the log has), and as the log does
 */
export async function remindRecovery(escrow: Escrow, id: RecoveryId): Promise<boolean> {
  const awaited = await findAwaited(escrow, id, () => undefined);
  if (awaited === undefined) return false;
  // what is not due is not attempted
  if (awaited.depositaries.length === 0) {
    await requireIntents(escrow, awaited);
    return false;
  }
  try {
    await record(escrow, id);
    return true;
  } catch (error) {
    if (error instanceof TheyWereTold) return false;
    throw error;
  }
}

/** Throws `record-mismatch` when the record, if it is the newest, does not have each intent that the log has and nobody was told of, as it was said. */
async function requireIntents(
  { statements, store }: Escrow,
  { recovery, facts, policy }: CheckedRequest,
): Promise<void> {
  for (const [depositary, { statement }] of facts.intents) {
    if (facts.reminded.has(depositary) || facts.denials.has(depositary)) continue;
    const kept = recovery.intents.find((intent) => intent.depositary === depositary);
    const keys = policy.principals.get(depositary as PrincipalId)?.keys ?? [];
    const said = kept && (await statements.verify(kept.statement, INTENT_TYPE, keys));
    // when it is over says who signed it; of one whose key is not listed any more it makes no difference
    const isAsSaid = said === undefined || said.payload['exp'] === (kept?.expiresAt.getTime() ?? 0) / 1000;
    if (kept !== undefined && sha256Hex(kept.statement) === statement && isAsSaid) continue;
    if ((await store.findRecovery(recovery.id))?.revision !== recovery.revision) return;
    throw new EscrowError(
      'record-mismatch',
      `By the log ${depositary} intends to approve, and the record says something else.`,
    );
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
      const awaited = await findAwaited(escrow, id, about);
      if (awaited === undefined || awaited.depositaries.length === 0) throw new TheyWereTold();
      const { recovery, facts, policy, depositaries } = awaited;
      return {
        detail: { requestHash: recovery.requestHash, depositaries },
        // by whose keys the intents were counted
        claims: [aloneOn(recovery), { claim: 'policy-in-force', version: policy.version }],
        holds: whileLogged(facts),
        plan: awaited,
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

async function findAwaited(
  escrow: Escrow,
  id: RecoveryId,
  about: (subject: Subject) => void,
): Promise<Awaited | undefined> {
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
  return { ...request, depositaries };
}

const NEVER = new Date(8.64e15);
