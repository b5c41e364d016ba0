import type { Directory } from './directory.js';
import { EscrowError } from './errors.js';
import type { IdempotencyKey } from './idempotency.js';
import type { GrantId, KeyId, RandomBytes, RecoveryId } from './ids.js';
import type { Deposit } from './deposit.js';
import type { Grant } from './grant.js';
import type { Ledger } from './ledger.js';
import type { Actor, SignedRequest } from './performance.js';
import type { Subject } from './journal.js';
import type { Clock, LogReader, StatementVerifier, Store, Token } from './ports.js';
import type { Principal } from './principals.js';
import type { Recovery } from './recovery.js';
import { statusAt } from './recovery.js';

/** What the use cases stand on. The token is here for what it can tell; what it can do is lent by the ledger. */
export interface Escrow {
  readonly ledger: Ledger;
  readonly directory: Directory;
  readonly store: Store;
  readonly log: LogReader;
  readonly token: Pick<Token, 'abilities' | 'enrolled' | 'standing'>;
  readonly statements: StatementVerifier;
  readonly clock: Clock;
  readonly random: RandomBytes;
  /** The log's origin: the issuer of attestations, and the audience of statements. */
  readonly origin: string;
}

/** An authenticated call. */
export interface Call {
  readonly caller: Principal;
  readonly request: SignedRequest;
  /** The caller's name for what is to be made, where the request has one. */
  readonly idempotency?: IdempotencyKey;
}

/** The caller as the ledger wants it. */
export function actorOf(call: Call): Actor {
  return { id: call.caller.id, request: call.request };
}

/** The deposit, or EscrowError `key-unknown`. */
export async function getDeposit(escrow: Escrow, id: KeyId): Promise<Deposit> {
  const deposit = await escrow.store.findDeposit(id);
  if (deposit === undefined) throw new EscrowError('key-unknown');
  return deposit;
}

/** The recovery, or EscrowError `recovery-unknown`. */
export async function getRecovery(escrow: Escrow, id: RecoveryId): Promise<Recovery> {
  const recovery = await escrow.store.findRecovery(id);
  if (recovery === undefined) throw new EscrowError('recovery-unknown');
  return recovery;
}

/** The grant, or EscrowError `grant-unknown`. */
export async function getGrant(escrow: Escrow, id: GrantId): Promise<Grant> {
  const grant = await escrow.store.findGrant(id);
  if (grant === undefined) throw new EscrowError('grant-unknown');
  return grant;
}

/**
 * A request that has not ended, by the records or by the clock, and where it stands now; else EscrowError
 * `recovery-unknown`, `recovery-expired`, `recovery-ended`.
 */
export async function getOpenRecovery(
  escrow: Escrow,
  id: RecoveryId,
  about: (subject: Subject) => void,
): Promise<{ readonly recovery: Recovery; readonly status: 'pending' | 'approved' }> {
  about({ recovery: id });
  const recovery = await getRecovery(escrow, id);
  about({ key: recovery.key, owner: recovery.owner });
  const status = statusAt(recovery, escrow.clock.now());
  switch (status) {
    case 'pending':
    case 'approved':
      return { recovery, status };
    case 'expired':
      throw new EscrowError('recovery-expired');
    case 'active':
    case 'released':
    case 'denied':
    case 'vetoed':
    case 'cancelled':
    case 'failed':
      throw new EscrowError('recovery-ended');
  }
}
