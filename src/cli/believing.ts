import type { BelievedRecovery } from '../client/depositary/believedRecovery.js';
import { believeRecovery } from '../client/depositary/depositary.js';
import type { EscrowClient } from '../client/escrowClient.js';
import type { Identity } from '../client/identity/identity.js';
import type { LogView } from '../client/log/logView.js';
import { printable } from '../escrow/records/freeText.js';
import { UsageError } from './failures.js';
import type { Session } from './session.js';

/** Who decides, and through what. */
export interface Connected {
  readonly identity: Identity;
  readonly client: EscrowClient;
  readonly log: LogView;
}

/** A request that was checked, and by whom. */
export interface Checked extends Connected {
  readonly believed: BelievedRecovery;
}

/** The request that is to be decided about has ended. */
export class NotOpen extends UsageError {}

/** An open request, as this depositary's client believes it. @throws NotOpen; UsageError when another is shown; NotBelieved */
export async function believeOpen(
  session: Session,
  { identity, client, log }: Connected,
  id: string,
): Promise<BelievedRecovery> {
  const shown = await client.recovery(id);
  // one that has ended shows no share any more; that is no lie, and is to be told as what it is
  if (shown.status !== 'pending' && shown.status !== 'approved') {
    throw new NotOpen(
      `the request is not open: it is ${shown.status}`,
      `escrowctl recovery show ${shown.recovery}`,
    );
  }
  const { origin, identityKey } = identity.pins;
  const believed = await believeRecovery(shown, {
    ...{ origin, identityKey, depositary: identity.id, log, now: session.now },
    generations: identity.generations,
    approvedKeys: identity.approvedKeys,
  });
  if (believed.attested.recovery !== id) {
    throw new UsageError('the server shows another request than the one asked for');
  }
  return believed;
}

/** Shows what is to be decided, and asks. @throws UsageError when nobody is there, or the answer is not yes */
export async function confirmed(
  { terminal }: Session,
  lines: readonly string[],
  question: string,
): Promise<void> {
  if (!terminal.isInteractive) {
    throw new UsageError(
      'nobody is there to be asked',
      'add --yes, after reading: escrowctl recovery show ID',
    );
  }
  terminal.writeError(`${lines.map(printable).join('\n')}\n`);
  const answer = await terminal.ask(`${question} Type yes: `);
  if (answer.trim().toLowerCase() !== 'yes') throw new UsageError('not approved; nothing was sent');
}
