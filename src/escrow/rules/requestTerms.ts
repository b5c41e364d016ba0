import { type Deposit, type PurposeDeposit, brakesOf, getPurposeDeposit } from '../records/deposit.js';
import { EscrowError } from '../records/errors.js';
import type { KeyId, PrincipalId } from '../records/ids.js';
import type { Brakes } from '../records/policy.js';
import type { AskedPurpose, Recovery } from '../records/recovery.js';

/*
 * A request is for one key or several of one owner. Each was deposited by a rule of its own, with quorums of its own: what
 * one of them forbids is forbidden for the request, and it is approved when the quorums of all of them are complete.
 */

/** One key of a request, and its deposit for what is asked. One that is to be sealed anew stands there once for each of its purposes. */
export interface AskedKey {
  readonly deposit: Deposit;
  readonly sealed: PurposeDeposit;
}

/** These keys, as they are asked for. @throws EscrowError `purpose-not-allowed` */
export function askedKeysOf(deposits: readonly Deposit[], purpose: AskedPurpose): readonly AskedKey[] {
  return deposits.flatMap((deposit) => {
    const purposes = purpose === 'reseal' ? deposit.purposes : [getPurposeDeposit(deposit, purpose)];
    return purposes.map((sealed) => ({ deposit, sealed }));
  });
}

/** Names as many keys in a sentence. */
const NAMED = 8;

/**
 * What stands between complete quorums and the keys: the longest delay, a veto where one of the rules gives it, and replies after
 * the delay where one of them has it so.
 */
export function brakesOfAll(keys: readonly AskedKey[]): Brakes {
  const brakes = keys.map(({ deposit, sealed }) => brakesOf(deposit, sealed.purpose));
  return {
    delayMs: Math.max(...brakes.map(({ delayMs }) => delayMs)),
    ownerMayVeto: brakes.some(({ ownerMayVeto }) => ownerMayVeto),
    ...(brakes.some(({ replies }) => replies === 'afterDelay') ? { replies: 'afterDelay' } : {}),
  };
}

/** Whether the rules of all keys let this depositary decide on a request of this requester. */
export function mayDecide(
  { requester }: Pick<Recovery, 'requester'>,
  keys: readonly Pick<AskedKey, 'deposit'>[],
  depositary: PrincipalId,
): boolean {
  return (
    requester !== depositary ||
    keys.every(({ deposit }) => !deposit.requests.distinct.includes('requester-depositary'))
  );
}

/**
 * Checks each key; what is refused for some of several keys names them, so that they can be asked for apart.
 *
 * @throws EscrowError as `check` does for the first that it refuses
 */
export function checkEach(deposits: readonly Deposit[], check: (deposit: Deposit) => void): void {
  const refused = deposits.flatMap((deposit) => {
    try {
      check(deposit);
      return [];
    } catch (error) {
      if (!(error instanceof EscrowError)) throw error;
      return [{ key: deposit.key, error }];
    }
  });
  const [first] = refused;
  if (first === undefined) return;
  if (deposits.length === 1) throw first.error;
  const { code, detail } = first.error;
  const keys = refused.filter(({ error }) => error.code === code).map(({ key }) => key);
  throw new EscrowError(code, `${detail} Ask apart for ${namesOf(keys)}.`, { cause: first.error });
}

/** These keys in a sentence; of many, the first. */
function namesOf(keys: readonly KeyId[]): string {
  const more = keys.length - NAMED;
  return `${keys.slice(0, NAMED).join(', ')}${more > 0 ? ` and ${more} more` : ''}`;
}
