import { decodeEntry } from '../../log/entry/entry.js';
import { mayDecide } from '../rules/requestTerms.js';
import type { Deposit } from '../records/deposit.js';
import { type PrincipalId, parseId } from '../records/ids.js';
import type { Purpose } from '../records/policy.js';
import { needsRequest, noticesOf } from './whoIsTold.js';
import type { RequestFacts } from './words.js';
import type { Notice } from '../records/notice.js';
import type { StoredEntry } from '../ports/log.js';
import type { Store } from '../ports/store.js';
import type { Recovery } from '../records/recovery.js';

/**
 * The notices that an entry of the log gives rise to, with what the records say of its request. The same entry gives the
 * same notices, in the same order, whenever it is asked about.
 *
 * @throws EscrowError `store-unavailable`
 */
export async function noticesAbout(
  store: Pick<Store, 'findRecovery' | 'findDeposits'>,
  { index, entry: bytes }: StoredEntry,
): Promise<readonly Notice[]> {
  const entry = decodeEntry(bytes);
  const request = needsRequest(entry) ? await findRequest(store, entry.subject.recovery) : undefined;
  return noticesOf(index, entry, request);
}

async function findRequest(
  store: Pick<Store, 'findRecovery' | 'findDeposits'>,
  text: string | undefined,
): Promise<RequestFacts | undefined> {
  const id = parseId('RecoveryId', text ?? '');
  const recovery = id === undefined ? undefined : await store.findRecovery(id);
  if (recovery === undefined) return undefined;
  const deposits = await store.findDeposits(recovery.keys);
  const { owner, requester, asked, reason, expiresAt } = recovery;
  return {
    owner,
    requester,
    purpose: asked.purpose,
    beneficiary: beneficiaryOf(asked),
    keys: recovery.keys.map((key) => ({ key, label: deposits.find((one) => one.key === key)?.label ?? '' })),
    reason,
    expiresAt: expiresAt.toISOString(),
    deciders: decidersOf(deposits, recovery),
    reasonOf: (person) => reasonOf(recovery, person),
  };
}

/** Whoever has a share of one of the keys for the purpose, and may decide by the rules. */
function decidersOf(deposits: readonly Deposit[], recovery: Recovery): RequestFacts['deciders'] {
  const keys = deposits.map((deposit) => ({ deposit }));
  const holders = deposits
    .flatMap(({ purposes }) => purposes.filter(({ purpose }) => isAskedFor(purpose, recovery.asked)))
    .flatMap(({ shares }) => shares.map(({ depositary }) => depositary));
  return [...new Set(holders)]
    .filter((depositary) => depositary !== recovery.owner && mayDecide(recovery, keys, depositary))
    .sort();
}

/** Who uses keys, or receives them. */
function beneficiaryOf(asked: Recovery['asked']): PrincipalId | undefined {
  if (asked.purpose === 'reseal') return undefined;
  return asked.purpose === 'operate' ? asked.scope.app : asked.recipient;
}

function isAskedFor(purpose: Purpose, asked: Recovery['asked']): boolean {
  return asked.purpose === 'reseal' || asked.purpose === purpose;
}

/** A denial is never taken back, and an end is the last state: what a person gave as their reason does not change. */
function reasonOf({ denials, state }: Recovery, person: string): string | undefined {
  const denial = denials.find(({ depositary }) => depositary === person);
  if (denial !== undefined) return denial.reason;
  return 'by' in state && state.by === person ? state.reason : undefined;
}
