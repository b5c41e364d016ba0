import { isForLog } from '../../log/note/audience.js';
import { releasedDigest, requireAsLogged } from '../checks/checkedRelease.js';
import type { Call, Escrow } from '../escrow.js';
import { actorOf } from '../escrow.js';
import { getRecovery } from '../lookUp.js';
import { EscrowError } from '../records/errors.js';
import type { RecoveryId } from '../records/ids.js';
import { idsOf } from '../records/ids.js';
import type { Subject } from '../../log/entry/entry.js';
import { aloneOnEnded } from '../ports/journal.js';
import type { Recorded } from '../ledger/act.js';
import { DAEMON } from '../ledger/act.js';
import type { Recovery, RecoveryState, ReleasedKey } from '../records/recovery.js';
import type { Settling } from './settling.js';
import { isStatement } from '../rules/statement.js';
import { CONFIRMATION_TYPE } from '../records/statementTypes.js';

/*
 * What was released is kept for its recipient, so that an answer that was lost can be had again: until they say that they have
 * it, or a day. Then the record loses the ciphertexts; the log keeps their digest.
 */

/** How long what was released is kept for a recipient who does not say that they have it. */
export const RELEASE_KEPT_MS = 24 * 60 * 60 * 1000;

/**
 * The recipient confirms by a signed statement that the released keys are written and open: the record forgets them.
 *
 * @throws EscrowError `recovery-unknown`, `forbidden`, `release-gone`, `approval-signature-invalid`, `approval-mismatch`.
 */
export function confirmRelease(
  escrow: Escrow,
  call: Call,
  order: { readonly recovery: RecoveryId; readonly statement: string },
): Promise<Recorded<Recovery>> {
  return escrow.ledger.perform({
    act: 'recovery.confirm',
    actor: actorOf(call),
    decide: async (about) => {
      const recovery = await getKept(escrow, order.recovery, about);
      const { asked, answers } = recovery;
      if (asked.purpose !== 'release' || asked.recipient !== call.caller.id)
        throw new EscrowError('forbidden');
      const verified = await escrow.statements.verify(order.statement, CONFIRMATION_TYPE, call.caller.keys);
      if (verified === undefined) throw new EscrowError('approval-signature-invalid');
      const { aud, iat, ...said } = verified.payload;
      const expected = {
        ...{ iss: call.caller.id, recovery: recovery.id, keys: recovery.keys },
        released: releasedDigest(answers),
      };
      if (!isForLog(aud, escrow.logKey) || typeof iat !== 'number' || !isStatement(said, expected)) {
        throw new EscrowError('approval-mismatch');
      }
      return { detail: { statement: order.statement }, claims: [aloneOnEnded(recovery)], plan: recovery };
    },
    run: (_lent, { answers, ...recovery }) => {
      const forgotten = withoutAnswers(recovery);
      return Promise.resolve({
        detail: {},
        digest: releasedDigest(answers),
        changes: [{ change: 'recovery-saved', recovery: forgotten }],
        answer: forgotten,
      });
    },
  });
}

/** Forgets what was released more than a day ago, by the log: how many requests that was. Safe beside other daemons. */
export async function forgetReleases(escrow: Escrow, settling: Settling): Promise<number> {
  const { facts } = escrow.followed;
  const beforeMs = (): number => escrow.clock.now().getTime() - RELEASE_KEPT_MS;
  const isDue = (id: string): boolean => (facts.keptRelease(id)?.atMs ?? Infinity) < beforeMs();
  let forgotten = 0;
  for (const id of idsOf('RecoveryId', facts.due.releasesUntil(beforeMs()))) {
    const matter = { id, isDue: () => isDue(id), settle: () => forget(escrow, id) };
    if (await settling.settle(matter)) forgotten += 1;
  }
  return forgotten;
}

async function forget(escrow: Escrow, id: RecoveryId): Promise<unknown> {
  // a record that says something else is not attempted, round by round
  requireAsLogged(await getKept(escrow, id, () => undefined), escrow.followed.facts.keptRelease(id));
  return escrow.ledger.perform({
    act: 'recovery.forget',
    actor: DAEMON,
    decide: async (about) => {
      const recovery = await getKept(escrow, id, about);
      requireAsLogged(recovery, escrow.followed.facts.keptRelease(id));
      return { detail: {}, claims: [aloneOnEnded(recovery)], plan: recovery };
    },
    run: (_lent, { answers, ...recovery }) =>
      Promise.resolve({
        detail: {},
        digest: releasedDigest(answers),
        changes: [{ change: 'recovery-saved', recovery: withoutAnswers(recovery) }],
        answer: undefined,
      }),
  });
}

/** A request whose record still has what was released, and that; EscrowError `recovery-unknown`, `release-gone`. */
async function getKept(
  escrow: Escrow,
  id: RecoveryId,
  about: (subject: Subject) => void,
): Promise<Recovery & { readonly answers: readonly ReleasedKey[] }> {
  about({ recovery: id });
  const recovery = await getRecovery(escrow, id);
  about({ keys: recovery.keys, owner: recovery.owner });
  const { state } = recovery;
  if (state.status !== 'released' || state.answers === undefined) throw new EscrowError('release-gone');
  return { ...recovery, answers: state.answers };
}

function withoutAnswers(recovery: Recovery): Recovery {
  const { state } = recovery;
  if (state.status !== 'released') throw new EscrowError('internal');
  const forgotten: RecoveryState = { ...state, answers: undefined };
  return { ...recovery, revision: recovery.revision + 1, state: forgotten };
}
