import type { Checkpoint } from '../../log/note/checkpoint.js';
import type { ForDepositaryReply, RecoveryReply } from '../../api/replies.js';
import type { LogView } from '../log/logView.js';
import type { AttestationPins, Attested } from './attestation.js';
import type { ApprovedKeys } from './approvedKeys.js';
import type { GenerationMemory } from './generations.js';
import type { DepositPins, ShownDeposit } from './shownDeposit.js';
import { NotBelieved } from '../errors.js';

export interface DepositaryTrust extends AttestationPins, DepositPins {
  readonly log: LogView;
  readonly now: Date;
}

/**
 * A recovery request that has passed every check: attested by the token, in the log, in the one log that this
 * depositary has been shown all along. Only {@link believeRecovery} makes one, and only of one can an approval or a
 * denial be made.
 */
export interface BelievedRecovery {
  readonly [believed]: true;
  /** As the server shows it; what counts of it has been checked. */
  readonly shown: RecoveryReply;
  readonly attested: Attested;
  /** Of the keys that the depositary has a share of; not proven before the share is opened: see `approve`. */
  readonly deposits: readonly ShownDeposit[];
  /** `afterDelay`: by the terms of a deposit, or as the server says; then an intent comes first. */
  readonly replies: 'atOnce' | 'afterDelay';
  /** The time in the entry that recorded the filing. */
  readonly filedAt: Date;
  /** The index of the entry that recorded the filing. */
  readonly index: number;
  readonly checkpoint: Checkpoint;
  /** The C2SP verifier key of the log that it is in. */
  readonly logKey: string;
  /** Takes note of the deposits whose shares have opened. */
  readonly generations: GenerationMemory;
  /** Takes note of what is to be released to this depositary. */
  readonly approvedKeys: ApprovedKeys;
}

export declare const believed: unique symbol;
/** What only a depositary is shown. @throws NotBelieved `attestation-missing` */
export function partOf(shown: RecoveryReply): ForDepositaryReply {
  if (shown.forDepositary === undefined) {
    throw new NotBelieved(
      'attestation-missing',
      'the server shows no share of these keys to you; you are no depositary of them, or the request has ended',
    );
  }
  return shown.forDepositary;
}
