import type { LentFor } from '../ledger/means.js';
import type { AskedKey } from '../rules/requestTerms.js';
import type { CheckedRequest } from '../checks/checkedRequest.js';
import { whileLogged } from '../checks/checkedRequest.js';
import type { Call, Escrow } from '../escrow.js';
import { actorOf } from '../escrow.js';
import { isDepositaryOf } from '../records/deposit.js';
import { canonicalHash } from '../records/digests.js';
import { EscrowError } from '../records/errors.js';
import type { Grant } from '../records/grant.js';
import { certifyGrants } from '../rules/grantCertificate.js';
import type { RecoveryId } from '../records/ids.js';
import { newId } from '../records/ids.js';
import type { Actor, Recorded } from '../ledger/act.js';
import { DAEMON } from '../ledger/act.js';
import { aloneOn } from '../ports/journal.js';
import type { TokenVerbs, Wrapped } from '../ports/token.js';
import { hasRole } from '../records/principals.js';
import { quorumsAsJson } from '../rules/quorumProgress.js';
import type { KeyGrant, Recovery } from '../records/recovery.js';
import type { Scope } from '../records/scope.js';
import { grantsAsJson } from '../records/activationEntry.js';
import {
  bringBack,
  getRecoverable,
  held,
  logging,
  next,
  opened,
  endUnlessOpened,
  type RaisableKey,
  type ReadRequest,
} from './reopenDeposit.js';

/**
 * Brings approved keys back into the token, each as a grant of its own: non-exportable, for the app and the mechanisms that
 * were approved. All of them, or none. The daemon does so by itself when the last approval arrives; this is for when that was
 * cut short.
 *
 * @throws EscrowError `recovery-unknown`, `recovery-ended`, `recovery-expired`, `forbidden`, `quorum-incomplete`,
 *   `delay-running`, `grant-expired` (the time that was asked for is over), `token-full` (it stays approved), `recovery-failed` (the
 *   request has ended).
 */
export async function activateRecovery(
  escrow: Escrow,
  call: Call,
  order: { readonly recovery: RecoveryId },
): Promise<Recorded<readonly Grant[]>> {
  const { answer, index } = await activate(escrow, actorOf(call), order.recovery, {}, (recovery, keys) => {
    const hasPart =
      recovery.requester === call.caller.id ||
      (recovery.asked.purpose === 'operate' && recovery.asked.scope.app === call.caller.id) ||
      keys.some(({ sealed }) => isDepositaryOf(sealed, call.caller.id)) ||
      hasRole(call.caller, 'admin');
    if (!hasPart) throw new EscrowError('forbidden');
  });
  return { answer: answer.grants, index };
}

/**
 * The same by the daemon itself; `read` is the request as its last approval has left it, and `approval` the entry of that. Throws as
 * {@link activateRecovery} does.
 */
export async function activateByItself(
  escrow: Escrow,
  id: RecoveryId,
  because: { readonly approval?: number } = {},
  read?: ReadRequest,
): Promise<{ readonly recovery: Recovery; readonly grants: readonly Grant[] }> {
  return (await activate(escrow, DAEMON, id, because, () => undefined, read)).answer;
}

function activate(
  escrow: Escrow,
  actor: Actor,
  id: RecoveryId,
  because: { readonly approval?: number },
  check: (recovery: Recovery, keys: readonly AskedKey[]) => void,
  read?: ReadRequest,
): Promise<Recorded<{ readonly recovery: Recovery; readonly grants: readonly Grant[] }>> {
  let known = read;
  return escrow.ledger.perform({
    act: 'recovery.activate',
    actor,
    decide: async (about) => {
      const before = known;
      // when it has changed meanwhile, this is decided again, by what is read then
      known = undefined;
      const found = await getRecoverable(escrow, id, about, 'operate', check, {
        read: before,
        policy: actor.known?.policy,
      });
      const { request, recovery, asked, policy } = found;
      checkNotOver(asked.scope, escrow.clock.now());
      escrow.grantRoom.require(escrow.followed.facts, found.keys.length);
      const keys = found.keys.map((key) => ({ ...key, grant: newId('GrantId', escrow.random) }));
      return {
        detail: {
          requestHash: recovery.requestHash,
          quorums: quorumsAsJson(keys),
          // named before they are made, so that none of them is ever taken for a stray
          grants: grantsAsJson(grantsOf(keys)),
          ...because,
        },
        claims: [aloneOn(recovery), { claim: 'policy-in-force', version: policy.version }],
        holds: whileLogged(request.facts),
        plan: { request, recovery, keys, scope: asked.scope },
        ...logging(policy, keys),
      };
    },
    run: async (lent, { request, recovery, keys, scope }) => {
      const grants = grantsOf(keys);
      const at = escrow.clock.now();
      const { startsAt, expiresAt } = grantTimes(scope, at);
      // first: a grant that cannot be certified is not made
      const terms = { recovery: recovery.id, grants, scope, startsAt, expiresAt };
      const certificate = await certifyGrants(lent, escrow, terms, at);
      await endUnlessOpened(escrow, recovery, () => raiseAll(lent, request, keys, scope));
      const made = keys.map(({ deposit: { key, spec, owner }, grant }): Grant => {
        const life = { used: 0, recent: [], startsAt, expiresAt, status: 'active', certificate } as const;
        return { id: grant, recovery: recovery.id, key, spec, owner, scope, ...life };
      });
      const active = next(recovery, { status: 'active', grants, at });
      return {
        detail: {
          app: scope.app,
          maxUses: scope.maxUses,
          startsAt: startsAt.toISOString(),
          expiresAt: expiresAt.toISOString(),
          grants: grantsAsJson(grants),
          certificate,
        },
        digest: canonicalHash({ grants: grantsAsJson(grants), requestHash: recovery.requestHash }),
        changes: [
          { change: 'recovery-saved', recovery: active },
          ...made.map((grant) => ({ change: 'grant-created', grant }) as const),
        ],
        answer: { recovery: active, grants: made },
        undo: () => destroyAll(lent, keys),
        obsolete: { transport: recovery.id },
      };
    },
  });
}

function grantsOf(keys: readonly RaisableKey[]): readonly KeyGrant[] {
  return keys.map(({ deposit: { key }, grant }) => ({ key, grant }));
}

/** Raises the grants of all keys; when one cannot be, none is left in the token. */
async function raiseAll(
  lent: LentFor<'recovery.activate'>,
  request: CheckedRequest,
  keys: readonly RaisableKey[],
  { mechanisms }: Scope,
): Promise<void> {
  const ready: (RaisableKey & { readonly wrapped: Wrapped })[] = [];
  // what does not open shows before the first is raised, but for a user key itself
  for (const one of keys) ready.push({ ...one, wrapped: await bringBack(lent, request, one) });
  try {
    for (const { deposit, grant, wrapped } of ready) {
      const { key, spec, use } = deposit;
      // planDeposit deposits none for operation; nobody makes one of it
      if (use === 'keep') throw new EscrowError('purpose-not-allowed');
      const raised = lent.raiseGrant({ grant, wrapped, spec, use, mechanisms });
      opened(await held('key', key, raised), 'key', key);
    }
  } catch (error) {
    await destroyAll(lent, keys);
    throw error;
  }
}

/** What cannot be destroyed now is a stray, which housekeeping finds. */
async function destroyAll(
  lent: Pick<TokenVerbs, 'destroyGrant'>,
  keys: readonly RaisableKey[],
): Promise<void> {
  for (const { grant } of keys) await lent.destroyGrant(grant);
}

/** A grant begins with its activation and lasts its duration, within the instants that the scope may name. */
function grantTimes(
  { notBefore, notAfter, durationMs }: Scope,
  activatedAt: Date,
): { readonly startsAt: Date; readonly expiresAt: Date } {
  const lasts = new Date(activatedAt.getTime() + durationMs);
  return {
    startsAt: notBefore !== undefined && notBefore > activatedAt ? notBefore : activatedAt,
    expiresAt: notAfter !== undefined && notAfter < lasts ? notAfter : lasts,
  };
}

/** A grant that could never be used is not made. */
function checkNotOver(scope: Scope, now: Date): void {
  const { startsAt, expiresAt } = grantTimes(scope, now);
  if (startsAt >= expiresAt) {
    throw new EscrowError(
      'grant-expired',
      'The time that was asked for is over, or begins after the grant ends.',
    );
  }
}
