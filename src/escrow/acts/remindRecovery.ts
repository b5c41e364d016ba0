import type { CheckedRequest } from '../checks/checkedRequest.js';
import { checkRequest, countedStatus, repliesFrom, whileLogged } from '../checks/checkedRequest.js';
import type { Escrow } from '../escrow.js';
import { sha256Hex } from '../records/digests.js';
import { EscrowError } from '../records/errors.js';
import { type PrincipalId, type RecoveryId, idsOf } from '../records/ids.js';
import type { RequestFacts } from '../logged/logFacts.js';
import { isAwaited } from '../logged/requests.js';
import type { Subject } from '../../log/entry/entry.js';
import { aloneOn } from '../ports/journal.js';
import { getOpenRecovery } from '../checks/openRecovery.js';
import { DAEMON } from '../ledger/act.js';
import { brakesOfAll } from '../rules/requestTerms.js';
import type { Recovery } from '../records/recovery.js';
import { INTENT_TYPE } from '../records/statementTypes.js';
import type { Settling } from './settling.js';

/** What comes of a request that somebody intends to approve. */
interface Awaited extends CheckedRequest {
  /** Whether it takes replies after the delay, and is not approved. */
  readonly isPending: boolean;
  /** Who is to be told that the delay is over: nobody, as long as it runs. */
  readonly depositaries: readonly PrincipalId[];
  /** Before this instant nobody else is, while the log says no more of it and the policy stays. */
  readonly nextMs: number;
}

/** Requests about which nobody was to be told when they were looked at, by what the log said of each then. */
export class AwaitedSeen {
  readonly #seen = new WeakMap<RequestFacts, { readonly nextMs: number; readonly policy: number }>();
  #turn = 0;

  /** Whether this is to be looked at: for what the log says, the time, or the policy, whoever kept it. */
  isDue(facts: RequestFacts, policy: number | undefined, nowMs: number): boolean {
    const seen = this.#seen.get(facts);
    return seen === undefined || seen.policy !== policy || nowMs >= seen.nextMs;
  }

  note(facts: RequestFacts, policy: number, nextMs: number): void {
    this.#seen.set(facts, { nextMs, policy });
  }

  /** It is due in each round from now on, until it is noted again. */
  forget(facts: RequestFacts): void {
    this.#seen.delete(facts);
  }

  /** A few of these, the next ones each time. */
  slice<T>(all: readonly T[]): readonly T[] {
    if (all.length <= LOOKED_AT) return all;
    const from = this.#turn % all.length;
    this.#turn = from + LOOKED_AT;
    return [...all.slice(from), ...all.slice(0, from)].slice(0, LOOKED_AT);
  }
}

/** Of the records about which nothing is due yet so many are held against the log in each round. */
const LOOKED_AT = 16;

/**
 * Has the depositaries reminded who have not approved though the delay is over that their intents began: each once of each
 * intent. Looks at those requests about which somebody may be told by now, and at some of the others, whose records may
 * contradict the log.
 */
export async function remindDue(escrow: Escrow, settling: Settling, seen: AwaitedSeen): Promise<number> {
  const { facts } = escrow.followed;
  const nowMs = escrow.clock.now().getTime();
  const awaited = idsOf('RecoveryId', facts.due.unremindedRequests());
  const others: RecoveryId[] = [];
  const due = awaited.filter((id) => {
    const request = facts.request(id);
    if (request === undefined || seen.isDue(request, facts.policy?.version, nowMs)) return true;
    others.push(id);
    return false;
  });
  let reminded = 0;
  for (const id of [...due, ...seen.slice(others)]) {
    await settling.settle({
      id,
      isDue: () => {
        const request = facts.request(id);
        return request !== undefined && isAwaited(request);
      },
      settle: async () => {
        if (await remindRecovery(escrow, id, seen)) reminded += 1;
      },
    });
  }
  return reminded;
}

/**
 * Records, of a request that takes replies after the delay, whom to tell that it is over: each depositary whose intent counts,
 * whose approval is taken now and does not count yet, and who was not told since that intent. Resolves with whether there was
 * anybody. The notices follow from the entry. Safe beside other daemons: one of them records it.
 *
 * @throws EscrowError `busy`, `recovery-ended`, `recovery-expired`, `record-mismatch` (also where nobody else is to be told, and the
 *   record leaves out an intent that the log has), and as the log does
 */
async function remindRecovery(escrow: Escrow, id: RecoveryId, seen: AwaitedSeen): Promise<boolean> {
  const logged = escrow.followed.facts.request(id);
  // a record that contradicts the log is named in each round, not in those in which it has its turn
  if (logged !== undefined) seen.forget(logged);
  const awaited = await findAwaited(escrow, id, () => undefined);
  // what is not due is not attempted
  if (awaited.depositaries.length === 0) {
    if (awaited.isPending) await requireIntents(escrow, awaited);
    seen.note(awaited.facts, awaited.policy.version, awaited.nextMs);
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
      if (awaited.depositaries.length === 0) throw new TheyWereTold();
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
): Promise<Awaited> {
  const { recovery, status } = await getOpenRecovery(escrow, id, about);
  const request = await checkRequest(escrow, recovery);
  const { keys, approvals, intents, facts } = request;
  const nobody = { ...request, isPending: false, depositaries: [] };
  if (brakesOfAll(keys).replies !== 'afterDelay') return { ...nobody, nextMs: Infinity };
  // what is approved is pending again when its approvals expire
  if (countedStatus(status, keys, approvals) === 'approved')
    return { ...nobody, nextMs: facts.holdsUntilMs ?? 0 };
  const nowMs = escrow.clock.now().getTime();
  const untold = intents
    .map(({ depositary }) => depositary)
    .filter((one) => !facts.reminded.has(one) && !approvals.some(({ depositary }) => depositary === one))
    .map((depositary) => ({ depositary, fromMs: repliesFrom(request, depositary)?.getTime() ?? Infinity }));
  return {
    ...request,
    isPending: true,
    depositaries: untold.flatMap(({ depositary, fromMs }) => (nowMs >= fromMs ? [depositary] : [])).sort(),
    nextMs: untold.reduce((earliest, { fromMs }) => Math.min(earliest, fromMs), Infinity),
  };
}
