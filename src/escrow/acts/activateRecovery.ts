import type { LentFor } from '../ledger/means.js';
import type { AskedKey } from '../rules/requestTerms.js';
import type { CheckedRequest } from '../checks/checkedRequest.js';
import { checkRequest, quorumIncomplete, whileLogged } from '../checks/checkedRequest.js';
import { getAskedKeys } from '../lookUp.js';
import type { Call, Escrow } from '../escrow.js';
import { actorOf } from '../escrow.js';
import { getOpenRecovery } from '../checks/openRecovery.js';
import type { PurposeDeposit, SealedQuorum } from '../records/deposit.js';
import { isDepositaryOf } from '../records/deposit.js';
import { canonicalHash } from '../records/digests.js';
import { EscrowError } from '../records/errors.js';
import type { Grant } from '../records/grant.js';
import { certifyGrants } from '../rules/grantCertificate.js';
import type { GrantId, KeyId, PrincipalId, RecoveryId } from '../records/ids.js';
import { newId } from '../records/ids.js';
import type { Actor, Performed } from '../ledger/act.js';
import { CameToNothing } from '../ledger/act.js';
import { loggedFor } from '../rules/rules.js';
import { aloneOn } from '../ports/journal.js';
import type { Layers } from '../records/layers.js';
import { releasedAsJson, releasedDigest } from './keptReleases.js';
import { layerContext, layersOf } from '../records/layers.js';
import type { Subject } from '../records/subject.js';
import type { Policy } from '../records/policy.js';
import type { TokenVerbs, Wrapped } from '../ports/token.js';
import { DAEMON_ID, hasRole } from '../records/principals.js';
import { quorumsAsJson } from '../rules/quorumProgress.js';
import { completeQuorum } from '../rules/quorums.js';
import type { KeyGrant, Recovery, RecoveryState, ReleasedKey } from '../records/recovery.js';
import type { Scope } from '../records/scope.js';
import type { Held } from '../records/sealed.js';
import { grantsAsJson } from '../records/activationEntry.js';

/**
 * Brings approved keys back into the token, each as a grant of its own: non-exportable, for the app and the mechanisms that
 * were approved. All of them, or none. The daemon does so by itself when the last approval arrives; this is for when that was
 * cut short.
 *
 * @throws EscrowError `recovery-unknown`, `recovery-ended`, `recovery-expired`, `forbidden`, `quorum-incomplete`,
 *   `delay-running`, `grant-expired` (the time that was asked for is over), `recovery-failed` (the request has ended).
 */
export function activateRecovery(
  escrow: Escrow,
  call: Call,
  order: { readonly recovery: RecoveryId },
): Promise<Performed<readonly Grant[]>> {
  return activate(escrow, actorOf(call), order.recovery, {}, (recovery, keys) => {
    const hasPart =
      recovery.requester === call.caller.id ||
      (recovery.asked.purpose === 'operate' && recovery.asked.scope.app === call.caller.id) ||
      keys.some(({ sealed }) => isDepositaryOf(sealed, call.caller.id)) ||
      hasRole(call.caller, 'admin');
    if (!hasPart) throw new EscrowError('forbidden');
  });
}

/** After an approval: activates what the quorum was completed for. What goes wrong here is in the log, and can be retried. */
export async function activateOnQuorum(
  escrow: Escrow,
  recovery: Recovery,
  approval: number,
): Promise<Recovery> {
  if (recovery.asked.purpose !== 'operate' || recovery.state.status !== 'approved') return recovery;
  try {
    await activate(escrow, DAEMON, recovery.id, { approval }, () => undefined);
  } catch (error) {
    if (!(error instanceof EscrowError)) throw error;
  }
  return (await escrow.store.findRecovery(recovery.id)) ?? recovery;
}

/**
 * After a delay: activates what is due. What speaks against it is in the log, or will be again for whoever asks; throws EscrowError
 * `record-mismatch` when the record does.
 */
export async function activateWhenDue(escrow: Escrow, id: RecoveryId): Promise<boolean> {
  try {
    await activate(escrow, DAEMON, id, {}, () => undefined);
    return true;
  } catch (error) {
    if (error instanceof EscrowError && error.code !== 'record-mismatch') return false;
    throw error;
  }
}

/** The daemon itself, in the log. */
const DAEMON: Actor = { id: DAEMON_ID, request: undefined };

function activate(
  escrow: Escrow,
  actor: Actor,
  id: RecoveryId,
  because: { readonly approval?: number },
  check: (recovery: Recovery, keys: readonly AskedKey[]) => void,
): Promise<Performed<readonly Grant[]>> {
  return escrow.ledger.perform({
    act: 'recovery.activate',
    actor,
    decide: async (about) => {
      const found = await getRecoverable(escrow, id, about, 'operate', check);
      const { request, recovery, asked, policy } = found;
      checkNotOver(asked.scope, escrow.clock.now());
      const keys = found.keys.map((key) => ({ ...key, grant: newId('GrantId', escrow.random) }));
      return {
        detail: {
          requestHash: recovery.requestHash,
          quorums: quorumsAsJson(quorumsOf(keys)),
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
      await orEnd(escrow, recovery, () => raiseAll(lent, request, keys, scope));
      const made = keys.map(({ deposit: { key, spec, owner }, grant }): Grant => {
        const life = { used: 0, recent: [], startsAt, expiresAt, status: 'active', certificate } as const;
        return { id: grant, recovery: recovery.id, key, spec, owner, scope, ...life };
      });
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
          { change: 'recovery-saved', recovery: next(recovery, { status: 'active', grants, at }) },
          ...made.map((grant) => ({ change: 'grant-created', grant }) as const),
        ],
        answer: made,
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
      opened(await lent.raiseGrant({ grant, wrapped, spec, use, mechanisms }), 'key', key);
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

/**
 * Releases approved keys to their recipient, who must have approved: each under an X of its own, and that under the
 * recipient's public key (CKM_RSA_AES_KEY_WRAP). All in one answer, once for each request; the answer stays readable for the
 * recipient until they confirm that they have it, or a day is over: see `confirmRelease`.
 *
 * @throws EscrowError `recovery-unknown`, `recovery-ended`, `recovery-expired`, `forbidden`, `quorum-incomplete`,
 *   `delay-running`, `depositary-not-enrolled` (the recipient's key was rotated or revoked meanwhile), `busy` (the policy
 *   changed meanwhile), `recovery-failed` (the request has ended).
 */
export function releaseKeys(
  escrow: Escrow,
  call: Call,
  order: { readonly recovery: RecoveryId },
): Promise<Performed<readonly ReleasedKey[]>> {
  return escrow.ledger.perform({
    act: 'recovery.release',
    actor: actorOf(call),
    decide: async (about) => {
      const found = await getRecoverable(escrow, order.recovery, about, 'release', (recovery) => {
        if (recovery.asked.purpose === 'release' && recovery.asked.recipient !== call.caller.id) {
          throw new EscrowError('forbidden');
        }
      });
      const { request, recovery, keys } = found;
      if (!request.approvals.some(({ depositary }) => depositary === call.caller.id)) {
        throw new EscrowError('forbidden', 'A key is released only to a depositary who approved.');
      }
      const { policy } = found;
      await checkRecipientKey(escrow, policy, keys, call.caller.id);
      return {
        detail: { requestHash: recovery.requestHash, quorums: quorumsAsJson(quorumsOf(keys)) },
        claims: [aloneOn(recovery), { claim: 'policy-in-force', version: policy.version }],
        holds: whileLogged(request.facts),
        plan: found,
        ...logging(policy, keys),
      };
    },
    run: async (lent, { request, recovery, keys }) => {
      const users = await orEnd(escrow, recovery, async () => {
        const users: { readonly key: KeyId; readonly user: Held<'user-key'> }[] = [];
        for (const one of keys) {
          const { key, spec } = one.deposit;
          const wrapped = await bringBack(lent, request, one);
          users.push({ key, user: opened(await lent.unwrapForRelease({ wrapped, spec }), 'key', key) });
        }
        return users;
      });
      const answers: ReleasedKey[] = [];
      for (const { key, user } of users) {
        const x = await lent.generateTransferKey('depositary');
        const transferKey = await lent.wrapToDepositary(x, call.caller.id);
        answers.push({ key, transferKey, wrappedKey: await lent.wrapUnderTransfer(x, user) });
      }
      return {
        detail: { recipient: call.caller.id, released: releasedAsJson(answers) },
        digest: releasedDigest(answers),
        changes: [
          {
            change: 'recovery-saved',
            recovery: next(recovery, { status: 'released', at: escrow.clock.now(), answers }),
          },
        ],
        answer: answers,
        obsolete: { transport: recovery.id },
      };
    },
  });
}

/**
 * The recipient approved by opening the shares that were made for one key of theirs, so the keys that were asked for go to
 * this one and to no other under the same name. It must still be the one that the administrators list and the security
 * officer has enrolled.
 *
 * @throws EscrowError `depositary-not-enrolled`
 */
async function checkRecipientKey(
  { token }: Escrow,
  policy: Policy,
  keys: readonly AskedKey[],
  recipient: PrincipalId,
): Promise<void> {
  const listed = policy.principals.get(recipient)?.depositaryKey;
  const enrolled = (await token.enrolled()).find(({ id }) => id === recipient)?.fingerprint;
  const isTheirs = keys.every(({ sealed }) => {
    const approvedWith = sealed.shares.find(({ depositary }) => depositary === recipient)?.recipient;
    return approvedWith !== undefined && listed === approvedWith && enrolled === approvedWith;
  });
  if (isTheirs) return;
  throw new EscrowError(
    'depositary-not-enrolled',
    'The key that the recipient approved with is not the one that the directory lists and the token has for them now.',
  );
}

/** A key of a request, and a quorum of it that has agreed. */
interface RecoverableKey extends AskedKey {
  readonly quorum: SealedQuorum;
}

/** The same, and the grant that it is to become. */
interface RaisableKey extends RecoverableKey {
  readonly grant: GrantId;
}

interface Recoverable<P extends Recovery['asked']['purpose']> {
  readonly request: CheckedRequest;
  readonly recovery: Recovery;
  readonly asked: Extract<Recovery['asked'], { readonly purpose: P }>;
  readonly keys: readonly RecoverableKey[];
  readonly policy: Policy;
}

async function getRecoverable<P extends 'operate' | 'release'>(
  escrow: Escrow,
  id: RecoveryId,
  about: (subject: Subject) => void,
  purpose: P,
  check: (recovery: Recovery, keys: readonly AskedKey[]) => void,
): Promise<Recoverable<P>> {
  const { recovery: found, status } = await getOpenRecovery(escrow, id, about);
  const keys = await getAskedKeys(escrow, found);
  check(found, keys);
  const request = await checkRequest(escrow, found, keys);
  const { recovery, approvals, policy } = request;
  const { asked } = recovery;
  if (!isFor(asked, purpose))
    throw new EscrowError('purpose-not-allowed', `This request is for ${asked.purpose}.`);
  const agreed = new Set<PrincipalId>(approvals.map(({ depositary }) => depositary));
  const complete = keys.flatMap((key) => {
    const quorum = completeQuorum(key.sealed.quorums, agreed);
    return quorum === undefined ? [] : [{ ...key, quorum }];
  });
  const isApproved = status === 'approved' && complete.length === keys.length;
  if (!isApproved || recovery.state.status !== 'approved') throw quorumIncomplete(request);
  const { releasableAtMs } = request.facts;
  if (releasableAtMs === undefined) throw quorumIncomplete(request);
  if (escrow.clock.now().getTime() < releasableAtMs) throw new EscrowError('delay-running');
  return { request, recovery, asked, keys: complete, policy };
}

function logging(policy: Policy, keys: readonly RecoverableKey[]): ReturnType<typeof loggedFor> {
  const deposits = keys.map(({ deposit }) => deposit);
  return loggedFor(policy, deposits);
}

function quorumsOf(
  keys: readonly RecoverableKey[],
): readonly { readonly key: KeyId; readonly members: readonly PrincipalId[] }[] {
  return keys.map(({ deposit, quorum }) => ({ key: deposit.key, members: quorum.members }));
}

function isFor<P extends 'operate' | 'release'>(
  asked: Recovery['asked'],
  purpose: P,
): asked is Extract<Recovery['asked'], { readonly purpose: P }> {
  return asked.purpose === purpose;
}

/**
 * Peels the quorum's layers, outermost first: each depositary's reply gives R, R opens the link, the server's own
 * key regarding this depositary opens what was linked, and that opens the layer. What is left is the key under its KEK.
 */
async function bringBack(
  lent: Pick<TokenVerbs, 'unwrapReply' | 'openUnder' | 'unwrapLayer'>,
  request: CheckedRequest,
  { deposit, sealed, quorum }: RecoverableKey,
): Promise<Wrapped> {
  const { key } = deposit;
  const layers = layersOf(deposit, sealed);
  const place = layerContext(layers, { quorum: quorum.members });
  let rest = quorum.sealed;
  for (const [position, member] of quorum.members.entries()) {
    const layer = await layerOf(lent, request, layers, sealed, member);
    if (position === quorum.members.length - 1) {
      const core = await lent.openUnder(layer, rest, place, 'kek');
      return { sealed: opened(core, 'seal', key), kek: sealed.kek };
    }
    rest = opened(await lent.openUnder(layer, rest, place, 'layer-key'), 'seal', key);
  }
  throw new EscrowError('internal'); // a quorum has at least one member
}

async function layerOf(
  lent: Pick<TokenVerbs, 'unwrapReply' | 'openUnder' | 'unwrapLayer'>,
  { recovery, approvals }: CheckedRequest,
  layers: Layers,
  sealed: PurposeDeposit,
  member: PrincipalId,
): Promise<Held<'layer-key'>> {
  const approval = approvals.find(({ depositary }) => depositary === member);
  const { key } = layers;
  const answered = approval?.replies.find((reply) => reply.key === key);
  const share = sealed.shares.find(({ depositary }) => depositary === member);
  if (answered === undefined || share === undefined) throw new EscrowError('internal');
  const r = opened(await held('transport', key, lent.unwrapReply(recovery.id, answered.reply)), 'reply', key);
  const place = layerContext(layers, { depositary: member });
  const link = opened(await lent.openUnder(r, share.link, place, 'server-for'), 'link', key);
  const pair = { depositary: member, version: share.serverFor };
  return opened(await held('link', key, lent.unwrapLayer(pair, link)), 'link', key);
}

/** The token works and does not open this part: damage, for approvals were checked when they came. */
class DoesNotOpen extends Error {
  override readonly name = 'DoesNotOpen';

  constructor(
    readonly part: 'transport' | 'reply' | 'link' | 'seal' | 'key',
    readonly key: KeyId,
    options?: ErrorOptions,
  ) {
    super(`the token does not open the ${part} of ${key}`, options);
  }
}

/** An object that a token which works does not hold will not be there on another try. */
function held<T>(part: DoesNotOpen['part'], key: KeyId, use: Promise<T>): Promise<T> {
  return use.catch((error: unknown) => {
    if (!(error instanceof EscrowError) || error.code !== 'token-object-missing') throw error;
    throw new DoesNotOpen(part, key, { cause: error });
  });
}

function opened<T>(
  answer: { readonly opened: T } | { readonly refused: true },
  part: DoesNotOpen['part'],
  key: KeyId,
): T {
  if ('refused' in answer) throw new DoesNotOpen(part, key);
  return answer.opened;
}

/**
 * Brings keys back, or ends the request: what a token that works does not open now it will not open on another try, and
 * a request that can only fail must not stand.
 */
async function orEnd<T>(escrow: Escrow, recovery: Recovery, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof DoesNotOpen)) throw error;
    const state = { status: 'failed', reason: error.message, at: escrow.clock.now() } as const;
    throw new CameToNothing(new EscrowError('recovery-failed', undefined, { cause: error }), {
      detail: { status: 'failed', part: error.part, key: error.key },
      changes: [{ change: 'recovery-saved', recovery: next(recovery, state) }],
      obsolete: { transport: recovery.id },
    });
  }
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

function next(recovery: Recovery, state: RecoveryState): Recovery {
  return { ...recovery, revision: recovery.revision + 1, state };
}
