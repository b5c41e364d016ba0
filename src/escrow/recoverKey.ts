import type { Call, Escrow } from './context.js';
import { actorOf, getDeposit, getOpenRecovery } from './context.js';
import type { Deposit, PurposeDeposit, SealedQuorum } from './deposit.js';
import { getPurposeDeposit, isDepositaryOf } from './deposit.js';
import { layerContext, sha256Hex } from './digests.js';
import { EscrowError } from './errors.js';
import type { Grant } from './grant.js';
import type { PrincipalId, RecoveryId } from './ids.js';
import { newId } from './ids.js';
import type { Actor, Performed } from './performance.js';
import { CameToNothing } from './performance.js';
import { aloneOn } from './journal.js';
import type { Subject } from './journal.js';
import type { Policy } from './policy.js';
import type { TokenVerbs, Wrapped } from './ports.js';
import { hasRole } from './principals.js';
import { completeQuorum } from './quorums.js';
import type { Recovery, RecoveryState, Scope } from './recovery.js';
import { approvalsAt } from './recovery.js';
import type { Held } from './sealed.js';

/**
 * Brings an approved key back into the token as a grant: non-exportable, for the app and the mechanisms that were
 * approved. The daemon does so by itself when the last approval arrives; this is for when that was cut short.
 *
 * @throws EscrowError `recovery-unknown`, `recovery-ended`, `recovery-expired`, `forbidden`, `quorum-incomplete`,
 *   `delay-running`, `grant-expired` (the time that was asked for is over), `recovery-failed` (the request has ended).
 */
export function activateRecovery(
  escrow: Escrow,
  call: Call,
  order: { readonly recovery: RecoveryId },
): Promise<Performed<Grant>> {
  return activate(escrow, actorOf(call), order.recovery, {}, (recovery, deposit) => {
    const hasPart =
      recovery.requester === call.caller.id ||
      (recovery.asked.purpose === 'operate' && recovery.asked.scope.app === call.caller.id) ||
      isDepositaryOf(deposit, call.caller.id) ||
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

/** After a delay: activates what is due. What speaks against it is in the log, or will be again for whoever asks. */
export async function activateWhenDue(escrow: Escrow, id: RecoveryId): Promise<boolean> {
  try {
    await activate(escrow, DAEMON, id, {}, () => undefined);
    return true;
  } catch (error) {
    if (error instanceof EscrowError) return false;
    throw error;
  }
}

/** The daemon itself, in the log. */
const DAEMON: Actor = { id: 'escrowd', request: undefined };

function activate(
  escrow: Escrow,
  actor: Actor,
  id: RecoveryId,
  because: { readonly approval?: number },
  check: (recovery: Recovery, deposit: PurposeDeposit) => void,
): Promise<Performed<Grant>> {
  return escrow.ledger.perform({
    act: 'recovery.activate',
    actor,
    decide: async (about) => {
      const found = await getRecoverable(escrow, id, about, 'operate', check);
      const { recovery, asked } = found;
      checkNotOver(asked.scope, escrow.clock.now());
      const grant = newId('GrantId', escrow.random);
      about({ grant });
      return {
        detail: { requestHash: recovery.requestHash, quorum: found.quorum.members, ...because },
        claims: [aloneOn(recovery)],
        plan: { ...found, grant, scope: asked.scope },
      };
    },
    run: async (lent, { recovery, deposit, sealed, quorum, grant, scope }) => {
      await orEnd(escrow, lent, recovery, async () => {
        const wrapped = await bringBack(lent, recovery, sealed, quorum);
        const { mechanisms } = scope;
        opened(
          await lent.raiseGrant({ grant, wrapped, spec: deposit.spec, use: deposit.use, mechanisms }),
          'key',
        );
      });
      const at = escrow.clock.now();
      const { startsAt, expiresAt } = grantTimes(scope, at);
      const { key, spec, owner } = deposit;
      const made: Grant = {
        id: grant,
        recovery: recovery.id,
        key,
        spec,
        owner,
        scope,
        used: 0,
        recent: [],
        startsAt,
        expiresAt,
        status: 'active',
      };
      return {
        detail: {
          app: scope.app,
          maxUses: scope.maxUses,
          startsAt: startsAt.toISOString(),
          expiresAt: expiresAt.toISOString(),
        },
        digest: sha256Hex(`${grant} ${recovery.requestHash}`),
        changes: [
          { change: 'recovery-saved', recovery: next(recovery, { status: 'active', grant, at }) },
          { change: 'grant-created', grant: made },
        ],
        answer: made,
        undo: () => lent.destroyGrant(grant),
        cleanup: () => lent.destroyTransport(recovery.id),
      };
    },
  });
}

/**
 * Releases an approved key to its recipient, who must have approved: the key under a fresh X, and X under the
 * recipient's public key (CKM_RSA_AES_KEY_WRAP). Once for each request; the answer stays readable for the recipient.
 *
 * @throws EscrowError `recovery-unknown`, `recovery-ended`, `recovery-expired`, `forbidden`, `quorum-incomplete`,
 *   `delay-running`, `depositary-not-enrolled` (the recipient's key was rotated or revoked meanwhile), `busy` (the policy
 *   changed meanwhile), `recovery-failed` (the request has ended).
 */
export function releaseKey(
  escrow: Escrow,
  call: Call,
  order: { readonly recovery: RecoveryId },
): Promise<Performed<Recovery>> {
  return escrow.ledger.perform({
    act: 'recovery.release',
    actor: actorOf(call),
    decide: async (about) => {
      const found = await getRecoverable(escrow, order.recovery, about, 'release', (recovery) => {
        if (recovery.asked.purpose === 'release' && recovery.asked.recipient !== call.caller.id) {
          throw new EscrowError('forbidden');
        }
      });
      const { recovery, quorum } = found;
      if (!recovery.approvals.some(({ depositary }) => depositary === call.caller.id)) {
        throw new EscrowError('forbidden', 'A key is released only to a depositary who approved.');
      }
      const policy = await checkRecipientKey(escrow, found.sealed, call.caller.id);
      return {
        detail: { requestHash: recovery.requestHash, quorum: quorum.members },
        claims: [aloneOn(recovery), { claim: 'policy-in-force', version: policy.version }],
        plan: found,
      };
    },
    run: async (lent, { recovery, deposit, sealed, quorum }) => {
      const user = await orEnd(escrow, lent, recovery, async () => {
        const wrapped = await bringBack(lent, recovery, sealed, quorum);
        return opened(await lent.unwrapForRelease({ wrapped, spec: deposit.spec }), 'key');
      });
      const x = await lent.generateTransferKey('depositary');
      const answer = {
        transferKey: await lent.wrapToDepositary(x, call.caller.id),
        key: await lent.wrapUnderTransfer(x, user),
      };
      const released = next(recovery, { status: 'released', at: escrow.clock.now(), answer });
      return {
        detail: { recipient: call.caller.id },
        digest: sha256Hex(Buffer.concat([answer.transferKey, answer.key])),
        changes: [{ change: 'recovery-saved', recovery: released }],
        answer: released,
        cleanup: () => lent.destroyTransport(recovery.id),
      };
    },
  });
}

/**
 * The recipient approved by opening the share that was made for one key of theirs, so the key that was asked for goes to this
 * one and to no other under the same name. It must still be the one that the administrators list and the security officer
 * has enrolled.
 *
 * @throws EscrowError `depositary-not-enrolled`
 */
async function checkRecipientKey(
  { directory, token }: Escrow,
  { shares }: PurposeDeposit,
  recipient: PrincipalId,
): Promise<Policy> {
  const policy = await directory.current();
  const approvedWith = shares.find(({ depositary }) => depositary === recipient)?.recipient;
  const listed = policy.principals.get(recipient)?.depositaryKey;
  const enrolled = (await token.enrolled()).find(({ id }) => id === recipient)?.fingerprint;
  if (approvedWith === undefined || listed !== approvedWith || enrolled !== approvedWith)
    throw new EscrowError(
      'depositary-not-enrolled',
      'The key that the recipient approved with is not the one that the directory lists and the token has for them now.',
    );
  return policy;
}

interface Recoverable<P extends Recovery['asked']['purpose']> {
  readonly recovery: Recovery;
  readonly asked: Extract<Recovery['asked'], { readonly purpose: P }>;
  readonly deposit: Deposit;
  readonly sealed: PurposeDeposit;
  readonly quorum: SealedQuorum;
}

async function getRecoverable<P extends 'operate' | 'release'>(
  escrow: Escrow,
  id: RecoveryId,
  about: (subject: Subject) => void,
  purpose: P,
  check: (recovery: Recovery, deposit: PurposeDeposit) => void,
): Promise<Recoverable<P>> {
  const { recovery, status } = await getOpenRecovery(escrow, id, about);
  const deposit = await getDeposit(escrow, recovery.key);
  const sealed = getPurposeDeposit(deposit, recovery.asked.purpose);
  check(recovery, sealed);
  const { asked } = recovery;
  if (!isFor(asked, purpose))
    throw new EscrowError('purpose-not-allowed', `This request is for ${asked.purpose}.`);
  const now = escrow.clock.now();
  const agreed = new Set<PrincipalId>(approvalsAt(recovery, now).map(({ depositary }) => depositary));
  const quorum = completeQuorum(sealed.quorums, agreed);
  if (quorum === undefined || status !== 'approved' || recovery.state.status !== 'approved')
    throw new EscrowError('quorum-incomplete');
  if (now < recovery.state.releasableAt) throw new EscrowError('delay-running');
  return { recovery, asked, deposit, sealed, quorum };
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
  recovery: Recovery,
  deposit: PurposeDeposit,
  quorum: SealedQuorum,
): Promise<Wrapped> {
  const place = layerContext(recovery.key, deposit.purpose, { quorum: quorum.members });
  let rest = quorum.sealed;
  for (const [position, member] of quorum.members.entries()) {
    const layer = await layerOf(lent, recovery, deposit, member);
    if (position === quorum.members.length - 1) {
      const core = await lent.openUnder(layer, rest, place, 'kek');
      return { sealed: opened(core, 'seal'), kek: deposit.kek };
    }
    rest = opened(await lent.openUnder(layer, rest, place, 'layer-key'), 'seal');
  }
  throw new EscrowError('internal'); // a quorum has at least one member
}

async function layerOf(
  lent: Pick<TokenVerbs, 'unwrapReply' | 'openUnder' | 'unwrapLayer'>,
  recovery: Recovery,
  deposit: PurposeDeposit,
  member: PrincipalId,
): Promise<Held<'layer-key'>> {
  const approval = recovery.approvals.find(({ depositary }) => depositary === member);
  const share = deposit.shares.find(({ depositary }) => depositary === member);
  if (approval === undefined || share === undefined) throw new EscrowError('internal');
  const r = opened(await lent.unwrapReply(recovery.id, approval.reply), 'reply');
  const place = layerContext(recovery.key, deposit.purpose, { depositary: member });
  const link = opened(await lent.openUnder(r, share.link, place, 'server-for'), 'link');
  return opened(await lent.unwrapLayer(member, link), 'link');
}

/** The token works and does not open this part: damage, for approvals were checked when they came. */
class DoesNotOpen extends Error {
  override readonly name = 'DoesNotOpen';

  constructor(readonly part: 'reply' | 'link' | 'seal' | 'key') {
    super(`the token does not open the ${part}`);
  }
}

function opened<T>(
  answer: { readonly opened: T } | { readonly refused: true },
  part: DoesNotOpen['part'],
): T {
  if ('refused' in answer) throw new DoesNotOpen(part);
  return answer.opened;
}

/**
 * Brings a key back, or ends the request: what a token that works does not open now it will not open on another try, and
 * a request that can only fail must not stand.
 */
async function orEnd<T>(
  escrow: Escrow,
  lent: Pick<TokenVerbs, 'destroyTransport'>,
  recovery: Recovery,
  work: () => Promise<T>,
): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof DoesNotOpen)) throw error;
    const state = { status: 'failed', reason: error.message, at: escrow.clock.now() } as const;
    throw new CameToNothing('recovery-failed', {
      detail: { status: 'failed', part: error.part },
      changes: [{ change: 'recovery-saved', recovery: next(recovery, state) }],
      cleanup: () => lent.destroyTransport(recovery.id),
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
