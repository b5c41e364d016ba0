import { askedKeysOf, brakesOfAll, checkEach } from '../rules/requestTerms.js';
import { type ResealOrder, planReseal, requireDeposited } from './deposits/planReseal.js';
import { getDeposits } from '../lookUp.js';
import type { Call, Escrow } from '../escrow.js';
import { actorOf } from '../escrow.js';
import type { Deposit, PurposeDeposit } from '../records/deposit.js';
import { getPurposeDeposit, isDepositaryOf } from '../records/deposit.js';
import { depositedQuorums } from '../records/depositedQuorums.js';
import { attestationPayload, signedByIdentity } from '../rules/attestation.js';
import { askedAsJson, descriptionsAsJson, requestHash, sha256Hex } from '../records/digests.js';
import { EscrowError } from '../records/errors.js';
import { keyFree, repeatOf } from './idempotency.js';
import type { KeyId, PrincipalId } from '../records/ids.js';
import { newId, parseId } from '../records/ids.js';
import { mechanismsFor } from '../records/mechanisms.js';
import type { Policy, RequestTerms } from '../records/policy.js';
import type { Principal } from '../records/principals.js';
import { hasRole } from '../records/principals.js';
import type { Rate } from '../records/rate.js';
import { isWithin } from '../records/rate.js';
import type { Asked, AskedPurpose, Recovery } from '../records/recovery.js';
import type { Scope } from '../records/scope.js';
import { keySet } from '../records/recovery.js';
import type { Recorded } from '../ledger/act.js';
import { goneAmong, liveQuorums, unableInWords } from '../rules/liveQuorums.js';
import { requireKeks } from '../rules/kekRotation.js';
import { beyondTerms } from '../rules/scopeTerms.js';
import { viewRecovery } from '../reads/recoveries.js';
import { resealPlanAsJson } from '../records/sealing/resealing.js';
import { ATTESTATION_TYPE } from '../records/statementTypes.js';

/** What is asked for: a scope without a rate takes the rule's, or the strictest of several. */
export interface RecoveryOrder {
  /** All of one owner, in any order. */
  readonly keys: readonly KeyId[];
  readonly reason: string;
  readonly validForMs: number;
  readonly asked:
    | { readonly purpose: 'operate'; readonly scope: Scope }
    | { readonly purpose: 'release'; readonly recipient: PrincipalId | undefined }
    | ResealOrder;
}

/**
 * Files a recovery request: makes its one-time transport key, and signs with the identity key what is asked. Asked again
 * with the same Idempotency-Key, it answers with the request that was filed.
 *
 * The terms are those of the rule that a key was deposited by, as it stood then: a rule that was changed since holds for
 * keys made since. What is asked must be allowed for each of the keys, and is decided for all of them. The directory is the
 * one in force.
 *
 * @throws EscrowError `request-malformed`, `key-unknown`, `owners-differ`, `forbidden`, `purpose-not-allowed`, `scope-not-allowed`, `app-unknown`,
 *   `mechanism-unsupported`, `quorum-impossible`, `kek-missing`, what `planReseal` throws, `recoveries-too-many`, `idempotency-key-reused`, `idempotency-in-progress`,
 *   `token-full`, `token-unavailable`, `log-unavailable`.
 */
export function requestRecovery(
  escrow: Escrow,
  call: Call,
  order: RecoveryOrder,
): Promise<Recorded<Recovery>> {
  return escrow.openRequests.file(call.caller.id, order.keys, (checkOpen) =>
    fileRequest(escrow, call, order, checkOpen),
  );
}

function fileRequest(
  escrow: Escrow,
  call: Call,
  order: RecoveryOrder,
  checkOpen: (open: readonly Recovery[], now: Date) => void,
): Promise<Recorded<Recovery>> {
  return escrow.ledger.perform({
    act: 'recovery.request',
    actor: actorOf(call),
    decide: async (about) => {
      const keys = keySet(order.keys);
      about({ keys });
      const deposits = await getDeposits(escrow, keys);
      const owner = ownerOf(deposits);
      about({ owner });
      const repeats = await repeatOf(escrow, call, ({ recovery }) => filedBefore(escrow, call, recovery));
      if (repeats !== undefined) return { repeats };
      const open = await escrow.store.openRecoveries();
      const asked = await decide(escrow, call, deposits, order, open);
      const filedAt = escrow.clock.now();
      checkEach(deposits, ({ requests }) => {
        checkValidity(requests, order.validForMs);
      });
      checkOutlivesDelay(deposits, asked, order.validForMs);
      checkBegins(asked, filedAt);
      checkOpen(open, filedAt);
      // nobody is asked to decide what there is no room for
      if (asked.purpose === 'operate') escrow.grantRoom.require(escrow.followed.facts, keys.length);
      const plan = {
        id: newId('RecoveryId', escrow.random),
        version: 4,
        keys,
        owner,
        requester: call.caller.id,
        asked,
        reason: order.reason,
        filedAt,
        expiresAt: new Date(filedAt.getTime() + order.validForMs),
        approvalsHoldMs: Math.min(...deposits.map(({ requests }) => requests.approvalsHoldMs)),
      } as const;
      about({ recovery: plan.id });
      const hash = requestHash({ ...plan, recovery: plan.id, keys: deposits });
      return {
        detail: {
          version: plan.version,
          descriptions: descriptionsAsJson(deposits),
          ...askedAsJson(asked),
          ...(asked.purpose === 'reseal' ? { plan: resealPlanAsJson(asked.plan) } : {}),
          reason: order.reason,
          expiresAt: plan.expiresAt.toISOString(),
          approvalsHoldMs: plan.approvalsHoldMs,
          requestHash: hash,
        },
        claims: keyFree(escrow, call),
        holds: (asOf) => {
          if (asked.purpose === 'reseal') requireDeposited(escrow, asked, asOf);
        },
        plan: { ...plan, requestHash: hash, deposits },
      };
    },
    run: async (lent, { deposits, ...plan }) => {
      const { publicKey: transportKey } = await lent.createTransport(plan.id);
      const transport = sha256Hex(transportKey);
      const attested = attestationPayload(escrow.origin, plan, deposits, transport);
      const attestation = await signedByIdentity(lent, ATTESTATION_TYPE, attested);
      const recovery: Recovery = {
        ...plan,
        revision: 1,
        transportKey,
        attestation,
        intents: [],
        approvals: [],
        denials: [],
        state: { status: 'pending' },
      };
      return {
        detail: { requestHash: plan.requestHash, transport },
        digest: sha256Hex(attestation),
        changes: [{ change: 'recovery-saved', recovery }],
        answer: recovery,
        undo: () => lent.destroyTransport(plan.id),
      };
    },
  });
}

/** A request as it was filed, whatever was decided since. */
async function filedBefore(escrow: Escrow, call: Call, recovery: string | undefined): Promise<Recovery> {
  const id = parseId('RecoveryId', recovery ?? '');
  if (id === undefined) throw new EscrowError('internal');
  const { recovery: now } = await viewRecovery(escrow, call, id);
  return { ...now, revision: 1, intents: [], approvals: [], denials: [], state: { status: 'pending' } };
}

function ownerOf(deposits: readonly Deposit[]): PrincipalId {
  const [owner, ...others] = new Set(deposits.map((deposit) => deposit.owner));
  if (owner === undefined) throw new EscrowError('internal'); // a request has at least one key
  if (others.length > 0) throw new EscrowError('owners-differ');
  return owner;
}

async function decide(
  escrow: Escrow,
  call: Call,
  deposits: readonly Deposit[],
  { asked }: RecoveryOrder,
  open: readonly Recovery[],
): Promise<Asked> {
  const { caller, policy } = call;
  // who may not decide about one of the keys decides about none: see `mayDecide`
  const isApart = deposits.some(({ requests }) => requests.distinct.includes('requester-depositary'));
  checkEach(deposits, (deposit) => {
    checkRequester(deposit, caller, asked.purpose);
    const keys = askedKeysOf([deposit], asked.purpose);
    checkOwner(deposit, caller);
    for (const { sealed } of keys) checkQuorums(deposit, sealed, policy, isApart ? caller : undefined);
  });
  const held = await escrow.token.keks();
  checkEach(deposits, (deposit) => {
    requireKeks(deposit, asked.purpose, held);
  });
  if (asked.purpose === 'reseal') return planReseal(escrow, call, deposits, asked, open);
  if (asked.purpose === 'release') {
    const recipient = asked.recipient ?? caller.id;
    checkEach(deposits, (deposit) => {
      checkRecipient(deposit, getPurposeDeposit(deposit, 'release'), caller, recipient);
    });
    return { purpose: 'release', recipient };
  }
  const scope = { ...asked.scope, rate: asked.scope.rate ?? strictestRate(deposits) };
  checkEach(deposits, (deposit) => {
    checkScope(escrow, policy, deposit, scope);
  });
  return { purpose: 'operate', scope };
}

/** Administrators may always ask that keys are sealed anew: nobody has more of a key by that than the policy gives them. */
function checkRequester(deposit: Deposit, caller: Principal, purpose: AskedPurpose): void {
  const isRequester =
    (purpose === 'reseal' && hasRole(caller, 'admin')) ||
    (deposit.requesters.includes('depositary') &&
      deposit.purposes.some((candidate) => isDepositaryOf(candidate, caller.id))) ||
    (deposit.requesters.includes('admin') && hasRole(caller, 'admin')) ||
    (deposit.requesters.includes('app') && hasRole(caller, 'app'));
  if (!isRequester) throw new EscrowError('forbidden');
}

/** The rate of the rules that is within all the others; undefined when no rule has one. */
function strictestRate(deposits: readonly Deposit[]): Rate | undefined {
  const rates = deposits.flatMap(({ operate }) => operate?.rate ?? []);
  if (rates.length === 0) return undefined;
  const strictest = rates.find((rate) => rates.every((other) => isWithin(rate, other)));
  if (strictest !== undefined) return strictest;
  throw new EscrowError('scope-not-allowed', 'The rules of these keys have different rates: name one.');
}

function checkOwner({ requests, owner }: Deposit, { id }: Principal): void {
  if (requests.distinct.includes('requester-owner') && id === owner) {
    throw new EscrowError('forbidden', 'The rule of this key does not let its owner ask for it.');
  }
}

/**
 * Whether enough are left to agree, by the directory: without the requester, where they may not. Who is listed with another key than
 * the one that their share went to may have kept that one: they are asked.
 */
function checkQuorums(
  { key }: Deposit,
  sealed: PurposeDeposit,
  policy: Policy,
  barred: Principal | undefined,
): void {
  const { conceivable, unable } = liveQuorums(depositedQuorums(sealed), policy, undefined);
  if (conceivable.length === 0) {
    throw new EscrowError(
      'quorum-impossible',
      `No quorum of ${key} is left whose members could all agree: ${unableInWords(goneAmong(unable))}.`,
    );
  }
  if (barred === undefined || conceivable.some((members) => !members.includes(barred.id))) return;
  throw new EscrowError(
    'quorum-impossible',
    'The rule does not let the requester approve, and without them there is no quorum.',
  );
}

function checkRecipient(
  { requests }: Deposit,
  sealed: PurposeDeposit,
  { id: requester }: Principal,
  recipient: PrincipalId,
): void {
  if (!isDepositaryOf(sealed, recipient)) {
    throw new EscrowError('scope-not-allowed', 'A key is released only to a depositary of it.');
  }
  // a recipient must approve, which the requester may not where they must not be a depositary
  const mustDiffer =
    requests.distinct.includes('requester-recipient') || requests.distinct.includes('requester-depositary');
  if (mustDiffer && recipient === requester) {
    throw new EscrowError('scope-not-allowed', 'The rule does not let the requester receive the key.');
  }
}

function checkValidity({ maxValidForMs }: RequestTerms, validForMs: number): void {
  if (validForMs <= maxValidForMs) return;
  throw new EscrowError(
    'scope-not-allowed',
    `The rule of this key lets a request stand for at most ${maxValidForMs / 1000} seconds.`,
  );
}

/** Where replies are taken after the delay, a request that ends with it could never be approved. */
function checkOutlivesDelay(deposits: readonly Deposit[], { purpose }: Asked, validForMs: number): void {
  const brakes = brakesOfAll(askedKeysOf(deposits, purpose));
  if (brakes.replies !== 'afterDelay' || validForMs > brakes.delayMs) return;
  throw new EscrowError(
    'scope-not-allowed',
    `Replies are taken when the delay of ${brakes.delayMs / 1000} seconds is over: the request must stand for longer.`,
  );
}

/** When the grant begins and ends. */
function checkBegins(asked: Asked, filedAt: Date): void {
  if (asked.purpose !== 'operate') return;
  const { notBefore, notAfter } = asked.scope;
  const isOver = notAfter !== undefined && notAfter <= (notBefore ?? filedAt);
  if (isOver) throw new EscrowError('scope-not-allowed', 'The time asked for ends before it begins.');
}

function checkScope(escrow: Escrow, policy: Policy, deposit: Deposit, scope: Scope): void {
  const refuse = (detail: string): never => {
    throw new EscrowError('scope-not-allowed', detail);
  };
  const terms = deposit.operate;
  if (terms === undefined) throw new EscrowError('purpose-not-allowed');
  const app = policy.principals.get(scope.app);
  if (app === undefined || !hasRole(app, 'app')) throw new EscrowError('app-unknown');
  const beyond = beyondTerms(terms, deposit.use, scope);
  if (beyond !== undefined) refuse(beyond);
  const fitting = mechanismsFor(deposit.spec, deposit.use);
  if (!scope.mechanisms.every((mechanism) => fitting.includes(mechanism))) {
    refuse('These mechanisms do not fit this key.');
  }
  if (!scope.mechanisms.every((mechanism) => escrow.token.abilities.mechanisms.includes(mechanism))) {
    throw new EscrowError('mechanism-unsupported');
  }
}
