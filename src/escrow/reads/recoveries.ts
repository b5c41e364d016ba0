import type { Call, Escrow } from '../escrow.js';
import { getAskedKeys, getRecovery } from '../lookUp.js';
import { type AskedKey, brakesOfAll, mayDecide } from '../rules/requestTerms.js';
import { countedStatus } from '../checks/checkedRequest.js';
import type { DecidedRequest } from '../checks/undecided.js';
import { type Share, isDepositaryOf } from '../records/deposit.js';
import { depositedQuorums } from '../records/depositedQuorums.js';
import { EscrowError } from '../records/errors.js';
import { type GrantStatus, grantStatusAt } from '../records/grant.js';
import type { GrantId, JobId, PrincipalId, RecoveryId } from '../records/ids.js';
import type { Policy } from '../records/policy.js';
import type { Page, PageRequest } from '../ports/store.js';
import { type SigningKey, seesAll } from '../records/principals.js';
import { type UnableDepositary, goneAmong, liveQuorums } from '../rules/liveQuorums.js';
import { repliesFromMs } from '../rules/quorumProgress.js';
import type { Approval, Intent, LifeStatus, Recovery, ReleasedKey } from '../records/recovery.js';
import { approvalsAt, intentsAt, lifeAt } from '../records/recovery.js';
import { requireAsLogged } from '../checks/checkedRelease.js';
import { STATEMENT_TYPE, INTENT_TYPE } from '../records/statementTypes.js';

/** A recovery as one person may see it. */
export interface RecoveryView {
  readonly recovery: Recovery;
  readonly status: LifeStatus;
  /** What is wanted of depositaries before they approve, where replies are taken after the delay. */
  readonly intents: IntentsView | undefined;
  /** The approvals that count now; of a request that has ended, all. */
  readonly approvals: readonly Approval[];
  /** Of a request to seal keys anew, each key once for each of its purposes. */
  readonly keys: readonly KeyView[];
  /** What was released, for its recipient, as long as it is kept: that which the log says. */
  readonly released: readonly ReleasedKey[] | undefined;
}

/** How far a request has come that takes replies after the delay. */
export interface IntentsView {
  /** Those that count now; of a request that has ended, all. Each with the key that the directory lists and that signed it. */
  readonly of: readonly { readonly intent: Intent; readonly key: SigningKey }[];
  /** From when the replies of the viewer are taken; of somebody who has no intent of their own, those of the first who have. */
  readonly repliesFrom: Date | undefined;
}

/** One key of a recovery, as one person may see it. */
export interface KeyView extends AskedKey {
  /** As the directory lists people: how many of its quorums could still agree, and who of them is gone; undefined when it is over. */
  readonly left: { readonly quorums: number; readonly gone: readonly UnableDepositary[] } | undefined;
  /** The caller's own share, when the request is open and the caller is a depositary of the key who may decide. */
  readonly share: Share | undefined;
  /** What came of it, and where that stands. */
  readonly grant: { readonly id: GrantId; readonly status: GrantStatus } | undefined;
}

/**
 * A recovery: for who has a part in it, administrators and auditors. Throws `recovery-unknown`, `forbidden`; `record-mismatch` when
 * something else would be shown than was deposited or released.
 */
export async function viewRecovery(
  escrow: Escrow,
  call: Pick<Call, 'caller' | 'policy'>,
  id: RecoveryId,
): Promise<RecoveryView> {
  const recovery = await getRecovery(escrow, id);
  return viewOf(escrow, call, recovery);
}

/**
 * The recoveries that the caller may see, newest first; those of one job, where it is given. Whoever was asked and is a depositary of
 * the keys no more, since they were sealed anew, has no part in it any more.
 */
export async function listRecoveries(
  escrow: Escrow,
  call: Pick<Call, 'caller' | 'policy'>,
  page: PageRequest,
  job?: JobId,
): Promise<Page<RecoveryView>> {
  const of = seesAll(call.caller) ? {} : { participant: call.caller.id };
  const { items, next } = await escrow.store.recoveries({ ...of, job }, page);
  const views = await Promise.all(
    items.map((recovery) =>
      viewOf(escrow, call, recovery).catch((error: unknown) => {
        if (error instanceof EscrowError && error.code === 'forbidden') return undefined;
        throw error;
      }),
    ),
  );
  return { items: views.filter((view) => view !== undefined), next };
}

/** A recovery that was just decided about, for the person who did. What its act has read of it is not read again. */
export async function viewOf(
  escrow: Escrow,
  call: Pick<Call, 'caller' | 'policy'>,
  recovery: Recovery,
  read: Partial<Pick<DecidedRequest, 'keys' | 'grants'>> = {},
): Promise<RecoveryView> {
  const { caller, policy } = call;
  const keys = read.keys ?? (await getAskedKeys(escrow, recovery));
  const { asked } = recovery;
  const hasPart =
    recovery.requester === caller.id ||
    recovery.owner === caller.id ||
    keys.some(({ sealed }) => isDepositaryOf(sealed, caller.id)) ||
    [...recovery.approvals, ...recovery.denials].some(({ depositary }) => depositary === caller.id) ||
    (asked.purpose === 'release' && asked.recipient === caller.id) ||
    (asked.purpose === 'operate' && asked.scope.app === caller.id);
  if (!hasPart && !seesAll(caller)) throw new EscrowError('forbidden');
  const now = escrow.clock.now();
  const { state } = recovery;
  const made = state.status === 'active' ? state.grants.map(({ grant }) => grant) : [];
  const grants = read.grants ?? (await escrow.store.findGrants(made));
  const listed = listedAmong(escrow, policy, approvalsAt(recovery, now));
  const status = shownStatus(recovery, keys, listed, lifeAt(recovery, grants, now), now);
  const isOpen = status === 'pending' || status === 'approved';
  const isRecipient = asked.purpose === 'release' && asked.recipient === caller.id;
  const isAsked = isOpen && mayDecide(recovery, keys, caller.id);
  return {
    recovery,
    status,
    intents: intentsView(escrow, policy, { recovery, keys, isOpen }, caller.id),
    approvals: isOpen ? listed : recovery.approvals,
    keys: keys.map((key) => {
      const share = isAsked
        ? key.sealed.shares.find(({ depositary }) => depositary === caller.id)
        : undefined;
      const grant = grants.find((made) => made.key === key.deposit.key);
      return {
        ...key,
        left: isOpen ? leftOf(key, policy) : undefined,
        share,
        grant: grant && { id: grant.id, status: grantStatusAt(grant, now) },
      };
    }),
    released: isRecipient ? await releasedIn(escrow, recovery) : undefined,
  };
}

function leftOf({ sealed }: AskedKey, policy: Policy): KeyView['left'] {
  const { conceivable, unable } = liveQuorums(depositedQuorums(sealed), policy, undefined);
  return { quorums: conceivable.length, gone: goneAmong(unable) };
}

/** What was released, unless it is forgotten by its record or by the log. */
async function releasedIn(
  { followed }: Escrow,
  recovery: Recovery,
): Promise<readonly ReleasedKey[] | undefined> {
  const { state } = recovery;
  if (state.status !== 'released' || state.answers === undefined) return undefined;
  const { answers } = state;
  await followed.caughtUp();
  const facts = followed.facts.keptRelease(recovery.id);
  if (facts === undefined) return undefined;
  requireAsLogged({ ...recovery, answers }, facts);
  return answers;
}

/** Of these approvals, those that say that they are signed by a key which the directory lists now for their depositary. */
function listedAmong(
  { statements }: Escrow,
  policy: Policy,
  approvals: readonly Approval[],
): readonly Approval[] {
  return approvals.filter(({ depositary, statement }) => {
    const signer = statements.signerOf(statement, STATEMENT_TYPE);
    return policy.principals.get(depositary)?.keys.some(({ thumbprint }) => thumbprint === signer) === true;
  });
}

function intentsView(
  { statements, clock }: Escrow,
  policy: Policy,
  request: { readonly recovery: Recovery; readonly keys: readonly AskedKey[]; readonly isOpen: boolean },
  viewer: PrincipalId,
): IntentsView | undefined {
  const { recovery, keys, isOpen } = request;
  if (brakesOfAll(keys).replies !== 'afterDelay') return undefined;
  const of = (isOpen ? intentsAt(recovery, clock.now()) : recovery.intents).flatMap((intent) => {
    const signer = statements.signerOf(intent.statement, INTENT_TYPE);
    const listed = policy.principals.get(intent.depositary)?.keys ?? [];
    const key = listed.find(({ thumbprint }) => thumbprint === signer);
    return key === undefined ? [] : [{ intent, key }];
  });
  const timed = of.map(({ intent: { depositary, at } }) => ({ depositary, atMs: at.getTime() }));
  const isIn = timed.some(({ depositary }) => depositary === viewer);
  const fromMs = isOpen ? repliesFromMs(keys, timed, isIn ? viewer : undefined) : undefined;
  return { of, repliesFrom: fromMs === undefined ? undefined : new Date(fromMs) };
}

/** An approved request whose quorums are complete no more is pending again, while it can be approved. */
function shownStatus(
  { expiresAt }: Recovery,
  keys: readonly AskedKey[],
  approvals: readonly Approval[],
  status: LifeStatus,
  now: Date,
): LifeStatus {
  if (status !== 'approved' || countedStatus(status, keys, approvals) === 'approved') return status;
  return now < expiresAt ? 'pending' : 'expired';
}
