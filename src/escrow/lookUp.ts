import type { Escrow } from './escrow.js';
import type { Deposit } from './records/deposit.js';
import { depositDigest, firstDepositDigest } from './records/digests.js';
import { EscrowError } from './records/errors.js';
import type { GrantId, KeyId, RecoveryId } from './records/ids.js';
import { type AskedKey, askedKeysOf } from './rules/requestTerms.js';
import type { Recovery } from './records/recovery.js';
import type { Grant } from './records/grant.js';

/**
 * The deposits of these keys, in their order; EscrowError `key-unknown` when there is none of one, `record-mismatch`. Those that were
 * `read` before are checked, and not read again.
 */
export async function getDeposits(
  escrow: Pick<Escrow, 'store' | 'followed'>,
  keys: readonly KeyId[],
  read?: readonly Deposit[],
): Promise<readonly Deposit[]> {
  const stored = read ?? (await escrow.store.findDeposits(keys));
  const found = new Map(stored.map((deposit) => [deposit.key, deposit]));
  const deposits = keys.map((key) => {
    const deposit = found.get(key);
    if (deposit !== undefined) return deposit;
    throw keys.length === 1
      ? new EscrowError('key-unknown')
      : new EscrowError('key-unknown', `There is no key ${key}.`);
  });
  for (const deposit of deposits) await checkDeposit(escrow, deposit);
  return deposits;
}

/**
 * The keys of a request, in their order; EscrowError `key-unknown`, `purpose-not-allowed`, `record-mismatch`. Deposits that were
 * `read` before are checked, and not read again.
 */
export async function getAskedKeys(
  escrow: Pick<Escrow, 'store' | 'followed'>,
  { keys, asked }: Pick<Recovery, 'keys' | 'asked'>,
  read?: readonly Deposit[],
): Promise<readonly AskedKey[]> {
  return askedKeysOf(await getDeposits(escrow, keys, read), asked.purpose);
}

/** The deposit, or EscrowError `key-unknown`, `record-mismatch`. */
export async function getDeposit(escrow: Escrow, id: KeyId): Promise<Deposit> {
  const deposit = await escrow.store.findDeposit(id);
  if (deposit === undefined) throw new EscrowError('key-unknown');
  await checkDeposit(escrow, deposit);
  return deposit;
}

/** Whether a deposit as it was read is the newest one that was made of the key. */
export async function isAsDeposited(escrow: Pick<Escrow, 'followed'>, deposit: Deposit): Promise<boolean> {
  try {
    await checkDeposit(escrow, deposit);
    return true;
  } catch (error) {
    if (error instanceof EscrowError && error.code === 'record-mismatch') return false;
    throw error;
  }
}

/** The recovery, or EscrowError `recovery-unknown`, `record-mismatch`. */
export async function getRecovery(escrow: Escrow, id: RecoveryId): Promise<Recovery> {
  const recovery = await escrow.store.findRecovery(id);
  if (recovery === undefined) throw new EscrowError('recovery-unknown');
  if (recovery.id !== id) throw new EscrowError('record-mismatch', 'The record is of another request.');
  return recovery;
}

/** The grant, or EscrowError `grant-unknown`. */
export async function getGrant(escrow: Escrow, id: GrantId): Promise<Grant> {
  const grant = await escrow.store.findGrant(id);
  if (grant === undefined) throw new EscrowError('grant-unknown');
  return grant;
}

/**
 * Checks a deposit as it was read: its digest is of all that it says, and is the one in the entry of the key's birth, or of when it
 * was last sealed anew.
 *
 * @throws EscrowError `record-mismatch`
 */
async function checkDeposit({ followed }: Pick<Escrow, 'followed'>, deposit: Deposit): Promise<void> {
  const { digest, key } = deposit;
  if (depositDigest(deposit) !== digest && firstDepositDigest(deposit) !== digest) {
    throw new EscrowError('record-mismatch', 'The digest of a deposit is not that of its record.');
  }
  // another daemon may have made it just now
  if (followed.facts.deposit(key)?.digest !== digest) await followed.caughtUp();
  if (followed.facts.deposit(key)?.digest === digest) return;
  throw new EscrowError('record-mismatch', 'A deposit is not the newest one that was made of the key.');
}
