import { decodeEntry } from '../log/entry.js';
import { mayDecide } from './decideRecovery.js';
import type { Deposit } from './deposit.js';
import { parseId } from './ids.js';
import type { Notice, RequestFacts } from './notices.js';
import { needsRequest, noticesOf } from './notices.js';
import type { Store, StoredEntry } from './ports.js';
import type { Recovery } from './recovery.js';

/**
 * The notices that an entry of the log gives rise to, with what the records say of its request. The same entry gives the
 * same notices, in the same order, whenever it is asked about.
 *
 * @throws EscrowError `store-unavailable`
 */
export async function noticesAbout(
  store: Pick<Store, 'findRecovery' | 'findDeposit'>,
  { index, entry: bytes }: StoredEntry,
): Promise<readonly Notice[]> {
  const entry = decodeEntry(bytes);
  const request = needsRequest(entry) ? await findRequest(store, entry.subject.recovery) : undefined;
  return noticesOf(index, entry, request);
}

async function findRequest(
  store: Pick<Store, 'findRecovery' | 'findDeposit'>,
  text: string | undefined,
): Promise<RequestFacts | undefined> {
  const id = parseId('RecoveryId', text ?? '');
  const recovery = id === undefined ? undefined : await store.findRecovery(id);
  if (recovery === undefined) return undefined;
  const deposit = await store.findDeposit(recovery.key);
  const { owner, requester, asked, reason, expiresAt } = recovery;
  return {
    owner,
    requester,
    purpose: asked.purpose,
    beneficiary: asked.purpose === 'operate' ? asked.scope.app : asked.recipient,
    label: deposit?.label ?? '',
    reason,
    expiresAt: expiresAt.toISOString(),
    deciders: deposit === undefined ? [] : decidersOf(deposit, recovery),
    reasonOf: (person) => reasonOf(recovery, person),
  };
}

/** Whoever has a share for the purpose, and may decide by the rule. */
function decidersOf(deposit: Deposit, recovery: Recovery): RequestFacts['deciders'] {
  const sealed = deposit.purposes.find(({ purpose }) => purpose === recovery.asked.purpose);
  return (sealed?.shares ?? [])
    .map(({ depositary }) => depositary)
    .filter((depositary) => depositary !== recovery.owner && mayDecide(recovery, deposit, depositary))
    .sort();
}

/** A denial is never taken back, and an end is the last state: what a person gave as their reason does not change. */
function reasonOf({ denials, state }: Recovery, person: string): string | undefined {
  const denial = denials.find(({ depositary }) => depositary === person);
  if (denial !== undefined) return denial.reason;
  return 'by' in state && state.by === person ? state.reason : undefined;
}
