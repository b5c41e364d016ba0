import type { Acted, WireRecovery } from '../escrow/wire.js';
import type { Entry } from '../log/entry.js';
import { NotBelieved, NotVetoed, ServerProblem, ServerUnreachable } from './errors.js';
import type { EscrowClient } from './escrowClient.js';
import type { LogView } from './logView.js';

/**
 * Vetoes, and believes that it was done only by the proof: the entry that recorded this veto, under a checkpoint by the pinned
 * log key that continues what was seen before, and that the pinned witnesses have cosigned, where there are some. A host that would
 * rather not have it vetoed can say that it was, but then has it in its log for everybody to find.
 *
 * @throws NotVetoed when there is no answer, or none with such a proof. A refusal has none either: that the request had ended, or
 * was nobody's, is what who hides a veto would say
 */
export async function vetoProven(
  client: Pick<EscrowClient, 'veto' | 'caller'>,
  log: Pick<LogView, 'believeEntry'>,
  recovery: string,
  reason: string,
): Promise<Acted<WireRecovery>> {
  const acted = await client.veto(recovery, reason).catch((cause: unknown) => {
    if (!isWord(cause)) throw cause;
    const refused = cause instanceof ServerProblem && cause.status < 500;
    const why = refused
      ? `the server refuses it (${cause.code})`
      : 'the server does not say that it was done';
    throw new NotVetoed(`${why}: ${cause.message}`, { cause });
  });
  const { vetoed } = acted.result;
  if (vetoed === undefined) throw new NotVetoed('the server does not prove that the veto is in its log');
  const isHere = await log.believeEntry(vetoed).then(
    ({ entry }) => vetoed.index === acted.entry && isVetoOf(entry, recovery, client.caller),
    (cause: unknown) => {
      if (!(cause instanceof NotBelieved) && !isWord(cause)) throw cause;
      const why = cause instanceof NotBelieved ? cause.detail : cause.message;
      throw new NotVetoed(`what the server shows as proof does not hold: ${why}`, { cause });
    },
  );
  if (!isHere) throw new NotVetoed('what the server shows as proof is of something else');
  return acted;
}

/** What the server says, or that it says nothing. */
function isWord(error: unknown): error is ServerProblem | ServerUnreachable {
  return error instanceof ServerUnreachable || error instanceof ServerProblem;
}

function isVetoOf({ act, phase, actor, subject, detail }: Entry, recovery: string, owner: string): boolean {
  return (
    act === 'recovery.veto' &&
    phase === 'done' &&
    actor === owner &&
    subject.recovery === recovery &&
    detail['status'] === 'vetoed'
  );
}
