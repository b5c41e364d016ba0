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
import { aloneOn } from './journal.js';
import type { Subject } from './journal.js';
import type { TokenVerbs, Wrapped } from './ports.js';
import { hasRole } from './principals.js';
import { completeQuorum } from './quorums.js';
import type { Recovery, RecoveryState } from './recovery.js';
import type { Held } from './sealed.js';

/**
 * Brings an approved key back into the token as a grant: non-exportable, for the app and the mechanisms that were
 * approved. The daemon does so by itself when the last approval arrives; this is for when that was cut short.
 *
 * @throws EscrowError `recovery-unknown`, `recovery-ended`, `recovery-expired`, `forbidden`, `quorum-incomplete`.
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
  const daemon: Actor = { id: 'escrowd', request: undefined };
  try {
    await activate(escrow, daemon, recovery.id, { approval }, () => undefined);
    return (await escrow.store.findRecovery(recovery.id)) ?? recovery;
  } catch (error) {
    if (error instanceof EscrowError) return recovery;
    throw error;
  }
}

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
      const grant = newId('GrantId', escrow.random);
      about({ grant });
      return {
        detail: { requestHash: recovery.requestHash, quorum: found.quorum.members, ...because },
        claims: [aloneOn(recovery)],
        plan: { ...found, grant, scope: asked.scope },
      };
    },
    run: async (lent, { recovery, deposit, sealed, quorum, grant, scope }) => {
      const wrapped = await bringBack(lent, recovery, sealed, quorum);
      const { mechanisms } = scope;
      const raised = await lent.raiseGrant({
        grant,
        wrapped,
        spec: deposit.spec,
        use: deposit.use,
        mechanisms,
      });
      if ('refused' in raised) throw new EscrowError('internal');
      const startsAt = escrow.clock.now();
      const expiresAt = new Date(startsAt.getTime() + scope.durationMs);
      const { key, spec, owner } = deposit;
      const made: Grant = {
        id: grant,
        recovery: recovery.id,
        key,
        spec,
        owner,
        scope,
        used: 0,
        startsAt,
        expiresAt,
        status: 'active',
      };
      return {
        detail: { app: scope.app, maxUses: scope.maxUses, expiresAt: expiresAt.toISOString() },
        digest: sha256Hex(`${grant} ${recovery.requestHash}`),
        changes: [
          { change: 'recovery-saved', recovery: next(recovery, { status: 'active', grant, at: startsAt }) },
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
 *   `delay-running`.
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
      return {
        detail: { requestHash: recovery.requestHash, quorum: quorum.members },
        claims: [aloneOn(recovery)],
        plan: found,
      };
    },
    run: async (lent, { recovery, deposit, sealed, quorum }) => {
      const wrapped = await bringBack(lent, recovery, sealed, quorum);
      const user = await lent.unwrapForRelease({ wrapped, spec: deposit.spec });
      if ('refused' in user) throw new EscrowError('internal');
      const x = await lent.generateTransferKey('depositary');
      const answer = {
        transferKey: await lent.wrapToDepositary(x, call.caller.id),
        key: await lent.wrapUnderTransfer(x, user.opened),
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
  const recovery = await getOpenRecovery(escrow, id, about);
  const deposit = await getDeposit(escrow, recovery.key);
  const sealed = getPurposeDeposit(deposit, recovery.asked.purpose);
  check(recovery, sealed);
  const { asked } = recovery;
  if (!isFor(asked, purpose))
    throw new EscrowError('purpose-not-allowed', `This request is for ${asked.purpose}.`);
  const agreed = new Set<PrincipalId>(recovery.approvals.map(({ depositary }) => depositary));
  const quorum = completeQuorum(sealed.quorums, agreed);
  if (quorum === undefined || recovery.state.status !== 'approved')
    throw new EscrowError('quorum-incomplete');
  if (escrow.clock.now().getTime() < recovery.state.releasableAt.getTime())
    throw new EscrowError('delay-running');
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
      return { sealed: opened(core), kek: deposit.kek };
    }
    rest = opened(await lent.openUnder(layer, rest, place, 'layer-key'));
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
  const r = opened(await lent.unwrapReply(recovery.id, approval.reply));
  const place = layerContext(recovery.key, deposit.purpose, { depositary: member });
  const link = opened(await lent.openUnder(r, share.link, place, 'server-for'));
  return opened(await lent.unwrapLayer(member, link));
}

/** Approvals were checked when they came and the deposit when it was made: a refusal now is damage, not bad input. */
function opened<T>(answer: { readonly opened: T } | { readonly refused: true }): T {
  if ('refused' in answer) throw new EscrowError('internal');
  return answer.opened;
}

function next(recovery: Recovery, state: RecoveryState): Recovery {
  return { ...recovery, revision: recovery.revision + 1, state };
}
