import type { Call, Escrow } from './context.js';
import { actorOf, getDeposit } from './context.js';
import type { Deposit, PurposeDeposit } from './deposit.js';
import { getPurposeDeposit, isDepositaryOf } from './deposit.js';
import { askedAsJson, base64url, requestHash, sha256Hex } from './digests.js';
import { canonicalJson } from '../log/canonical.js';
import { EscrowError } from './errors.js';
import { keyFree, repeatOf } from './idempotency.js';
import type { KeyId, PrincipalId } from './ids.js';
import { newId, parseId } from './ids.js';
import { mechanismsFor } from './mechanisms.js';
import type { Policy } from './policy.js';
import type { Principal } from './principals.js';
import { hasRole } from './principals.js';
import { isWithin } from './rate.js';
import type { Asked, Recovery, Scope } from './recovery.js';
import type { Performed } from './performance.js';
import { viewRecovery } from './views.js';

/** The `typ` of attestations (RFC 7515 section 4.1.9). */
export const ATTESTATION_TYPE = 'escrowd-attestation+jwt';

/** What is asked for: a scope without a rate takes the rule's. */
export interface RecoveryOrder {
  readonly key: KeyId;
  readonly reason: string;
  readonly validForMs: number;
  readonly asked:
    | { readonly purpose: 'operate'; readonly scope: Scope }
    | { readonly purpose: 'release'; readonly recipient: PrincipalId | undefined };
}

/**
 * Files a recovery request: makes its one-time transport key, and signs with the identity key what is asked. Asked again
 * with the same Idempotency-Key, it answers with the request that was filed.
 *
 * The terms are those of the rule that the key was deposited by, as it stood then: a rule that was changed since holds for
 * keys made since. The directory is the one in force.
 *
 * @throws EscrowError `key-unknown`, `forbidden`, `purpose-not-allowed`, `scope-not-allowed`, `app-unknown`,
 *   `mechanism-unsupported`, `quorum-impossible`, `idempotency-key-reused`, `idempotency-in-progress`,
 *   `token-unavailable`, `log-unavailable`.
 */
export function requestRecovery(
  escrow: Escrow,
  call: Call,
  order: RecoveryOrder,
): Promise<Performed<Recovery>> {
  return escrow.ledger.perform({
    act: 'recovery.request',
    actor: actorOf(call),
    decide: async (about) => {
      about({ key: order.key });
      const deposit = await getDeposit(escrow, order.key);
      about({ owner: deposit.owner });
      const repeats = await repeatOf(escrow, call, ({ recovery }) => filedBefore(escrow, call, recovery));
      if (repeats !== undefined) return { repeats };
      const policy = await escrow.directory.current();
      const asked = decide(escrow, policy, call.caller, deposit, order);
      const filedAt = escrow.clock.now();
      checkTimes(deposit, order, asked, filedAt);
      const plan = {
        id: newId('RecoveryId', escrow.random),
        key: deposit.key,
        owner: deposit.owner,
        requester: call.caller.id,
        asked,
        reason: order.reason,
        filedAt,
        expiresAt: new Date(filedAt.getTime() + order.validForMs),
        approvalsHoldMs: deposit.requests.approvalsHoldMs,
      };
      about({ recovery: plan.id });
      const hash = requestHash({ ...plan, recovery: plan.id });
      return {
        detail: {
          ...askedAsJson(asked),
          reason: order.reason,
          expiresAt: plan.expiresAt.toISOString(),
          approvalsHoldMs: plan.approvalsHoldMs,
          requestHash: hash,
        },
        claims: keyFree(escrow, call),
        plan: { ...plan, requestHash: hash, publicKey: deposit.publicKey },
      };
    },
    run: async (lent, { publicKey, ...plan }) => {
      const { publicKey: transportKey } = await lent.createTransport(plan.id);
      const transport = sha256Hex(transportKey);
      const input = attestationInput(escrow.origin, plan, publicKey, transport);
      const attestation = `${input}.${base64url(await lent.attest(Buffer.from(input, 'ascii')))}`;
      const recovery: Recovery = {
        ...plan,
        revision: 1,
        transportKey,
        attestation,
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
  return { ...now, revision: 1, approvals: [], denials: [], state: { status: 'pending' } };
}

function decide(
  escrow: Escrow,
  policy: Policy,
  caller: Principal,
  deposit: Deposit,
  order: RecoveryOrder,
): Asked {
  const purpose = order.asked.purpose;
  const isRequester =
    (deposit.requesters.includes('depositary') &&
      deposit.purposes.some((candidate) => isDepositaryOf(candidate, caller.id))) ||
    (deposit.requesters.includes('admin') && hasRole(caller, 'admin')) ||
    (deposit.requesters.includes('app') && hasRole(caller, 'app'));
  if (!isRequester) throw new EscrowError('forbidden');
  const sealed = getPurposeDeposit(deposit, purpose);
  checkDistinct(deposit, sealed, caller);
  if (order.asked.purpose === 'release') {
    const recipient = order.asked.recipient ?? caller.id;
    checkRecipient(deposit, sealed, caller, recipient);
    return { purpose: 'release', recipient };
  }
  const scope = { ...order.asked.scope, rate: order.asked.scope.rate ?? deposit.operate?.rate };
  checkScope(escrow, policy, deposit, scope);
  return { purpose: 'operate', scope };
}

/** Who must be others than the requester, by the rule; and whether enough are left to agree then. */
function checkDistinct({ requests, owner }: Deposit, sealed: PurposeDeposit, { id }: Principal): void {
  if (requests.distinct.includes('requester-owner') && id === owner) {
    throw new EscrowError('forbidden', 'The rule of this key does not let its owner ask for it.');
  }
  if (!requests.distinct.includes('requester-depositary')) return;
  if (sealed.quorums.some(({ members }) => !members.includes(id))) return;
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

/** How long the request stands, and when the grant begins and ends. */
function checkTimes({ requests }: Deposit, order: RecoveryOrder, asked: Asked, filedAt: Date): void {
  if (order.validForMs > requests.maxValidForMs) {
    throw new EscrowError(
      'scope-not-allowed',
      `The rule of this key lets a request stand for at most ${requests.maxValidForMs / 1000} seconds.`,
    );
  }
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
  if (
    !scope.operations.every((operation) => terms.operations.includes(operation) && operation === deposit.use)
  ) {
    refuse('The rule or the use of this key does not allow these operations.');
  }
  const fitting = mechanismsFor(deposit.spec, deposit.use);
  if (!scope.mechanisms.every((mechanism) => fitting.includes(mechanism))) {
    refuse('These mechanisms do not fit this key.');
  }
  const { mechanisms: allowed, rate } = terms;
  if (allowed !== undefined && !scope.mechanisms.every((mechanism) => allowed.includes(mechanism))) {
    refuse(`The rule of this key allows ${allowed.join(', ')} only.`);
  }
  if (scope.input === 'digest' && terms.input === 'message') {
    refuse('The rule of this key allows messages only, no digests.');
  }
  if (rate !== undefined && scope.rate !== undefined && !isWithin(scope.rate, rate)) {
    refuse(`The rule of this key allows at most ${rate.uses} uses in ${rate.perMs / 1000} seconds.`);
  }
  if (!scope.mechanisms.every((mechanism) => escrow.token.abilities.mechanisms.includes(mechanism))) {
    throw new EscrowError('mechanism-unsupported');
  }
  if (scope.maxUses > terms.maxUses) refuse(`The rule of this key allows at most ${terms.maxUses} uses.`);
  if (scope.durationMs > terms.maxDurationMs) {
    refuse(`The rule of this key allows at most ${terms.maxDurationMs / 1000} seconds.`);
  }
}

/** The JWS signing input of an attestation (RFC 7515 section 5.1). */
function attestationInput(
  origin: string,
  request: Pick<Recovery, 'id' | 'key' | 'asked' | 'requestHash' | 'filedAt' | 'expiresAt'>,
  publicKey: Uint8Array | undefined,
  transport: string,
): string {
  const header = { alg: 'ES256', typ: ATTESTATION_TYPE };
  const payload = {
    iss: origin,
    iat: seconds(request.filedAt),
    exp: seconds(request.expiresAt),
    recovery: request.id,
    requestHash: request.requestHash,
    key: request.key,
    publicKey: publicKey === undefined ? null : sha256Hex(publicKey),
    ...askedAsJson(request.asked),
    transport,
  };
  return [header, payload].map((part) => base64url(Buffer.from(canonicalJson(part)))).join('.');
}

/** Seconds since the epoch, rounded down (RFC 7519 NumericDate). */
function seconds(instant: Date): number {
  return Math.floor(instant.getTime() / 1000);
}
