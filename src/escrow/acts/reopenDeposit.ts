import { checkRequest, quorumIncomplete, type CheckedRequest } from '../checks/checkedRequest.js';
import { getOpenRecovery } from '../checks/openRecovery.js';
import type { Escrow } from '../escrow.js';
import { CameToNothing } from '../ledger/act.js';
import { getAskedKeys } from '../lookUp.js';
import type { TokenVerbs, Wrapped } from '../ports/token.js';
import type { PurposeDeposit } from '../records/deposit.js';
import { EscrowError } from '../records/errors.js';
import type { RecoveryId, PrincipalId, GrantId, KeyId } from '../records/ids.js';
import { layersOf, layerContext, type Layers } from '../records/sealing/layers.js';
import type { Policy } from '../records/policy.js';
import type { AskedPurpose, Recovery, RecoveryState } from '../records/recovery.js';
import type { Held } from '../records/sealing/sealed.js';
import type { Subject } from '../../log/entry/entry.js';
import type { CompleteKey } from '../rules/quorumProgress.js';
import { completion } from '../rules/quorumProgress.js';
import type { AskedKey } from '../rules/requestTerms.js';
import { loggedFor } from '../rules/rules.js';

/** A request and the deposits of its keys, as they were read or written last. */
export interface ReadRequest {
  readonly recovery: Recovery;
  readonly keys: readonly AskedKey[];
}

/**
 * An open request whose quorum is complete, for each of its keys, by the log; `check` says whether the caller has part in it. One
 * that was `read` before by another act is not read again, and is checked like any other. Approvals are checked by the policy that the
 * act claims, or by the one in force.
 *
 * @throws EscrowError `recovery-unknown`, `recovery-ended`, `recovery-expired`, `purpose-not-allowed`, `quorum-incomplete`, and
 *   what `check` throws.
 */
export async function getRecoverable<P extends AskedPurpose>(
  escrow: Escrow,
  id: RecoveryId,
  about: (subject: Subject) => void,
  purpose: P,
  check: (recovery: Recovery, keys: readonly AskedKey[]) => void,
  {
    read,
    policy: claimed,
  }: { readonly read?: ReadRequest | undefined; readonly policy?: Policy | undefined },
): Promise<Recoverable<P>> {
  const { recovery: found, status } = await getOpenRecovery(escrow, id, about, read?.recovery);
  const deposits = read?.keys.map(({ deposit }) => deposit);
  const keys = await getAskedKeys(escrow, found, deposits);
  check(found, keys);
  const request = await checkRequest(escrow, found, { keys, policy: claimed });
  const { recovery, approvals, policy } = request;
  const { asked } = recovery;
  if (!isFor(asked, purpose))
    throw new EscrowError('purpose-not-allowed', `This request is for ${asked.purpose}.`);
  const complete = completion(keys, approvals);
  const isApproved = status === 'approved' && recovery.state.status === 'approved';
  if (complete === undefined || !isApproved) throw quorumIncomplete(request);
  const { releasableAtMs } = request.facts;
  if (releasableAtMs === undefined) throw quorumIncomplete(request);
  if (escrow.clock.now().getTime() < releasableAtMs) throw new EscrowError('delay-running');
  return { request, recovery, asked, keys: complete.keys, policy };
}

interface Recoverable<P extends AskedPurpose> {
  readonly request: CheckedRequest;
  readonly recovery: Recovery;
  readonly asked: Extract<Recovery['asked'], { readonly purpose: P }>;
  readonly keys: readonly CompleteKey[];
  readonly policy: Policy;
}

/** A key whose quorum has agreed, and the grant that it is to become. */
export interface RaisableKey extends CompleteKey {
  readonly grant: GrantId;
}

/**
 * Peels the quorum's layers, outermost first: each depositary's reply gives R, R opens the link, the server's own
 * key regarding this depositary opens what was linked, and that opens the layer. What is left is the key under its KEK.
 */
export async function bringBack(
  lent: Pick<TokenVerbs, 'unwrapReply' | 'openUnder' | 'unwrapLayer'>,
  request: CheckedRequest,
  { deposit, sealed, quorum }: CompleteKey,
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
  const answered = approval?.replies.find(
    (reply) => reply.key === key && (reply.purpose ?? sealed.purpose) === sealed.purpose,
  );
  const share = sealed.shares.find(({ depositary }) => depositary === member);
  if (answered === undefined || share === undefined) throw new EscrowError('internal');
  const r = opened(await held('transport', key, lent.unwrapReply(recovery.id, answered.reply)), 'reply', key);
  const place = layerContext(layers, { depositary: member });
  const link = opened(await lent.openUnder(r, share.link, place, 'server-for'), 'link', key);
  const pair = { depositary: member, version: share.serverFor };
  return opened(await held('link', key, lent.unwrapLayer(pair, link)), 'link', key);
}

/** An object that a token which works does not hold will not be there on another try. */
export function held<T>(part: DoesNotOpen['part'], key: KeyId, use: Promise<T>): Promise<T> {
  return use.catch((error: unknown) => {
    if (!(error instanceof EscrowError) || error.code !== 'token-object-missing') throw error;
    throw new DoesNotOpen(part, key, { cause: error });
  });
}

/** What came out; that it did not open ends the request. */
export function opened<T>(
  answer: { readonly opened: T } | { readonly refused: true },
  part: DoesNotOpen['part'],
  key: KeyId,
): T {
  if ('refused' in answer) throw new DoesNotOpen(part, key);
  return answer.opened;
}

/** The token works and does not open this part: damage, for approvals were checked when they came. */
class DoesNotOpen extends Error {
  override readonly name = 'DoesNotOpen';

  constructor(
    readonly part: 'transport' | 'reply' | 'link' | 'seal' | 'key',
    readonly key: KeyId,
    options?: ErrorOptions,
  ) {
    const why = options?.cause instanceof EscrowError ? `: ${options.cause.detail}` : '';
    super(`the token does not open the ${part} of ${key}${why}`, options);
  }
}

/**
 * Brings keys back, or ends the request: what a token that works does not open now it will not open on another try, and
 * a request that can only fail must not stand.
 */
export async function endUnlessOpened<T>(
  escrow: Escrow,
  recovery: Recovery,
  work: () => Promise<T>,
): Promise<T> {
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

/** The request in its next state. */
export function next(recovery: Recovery, state: RecoveryState): Recovery {
  return { ...recovery, revision: recovery.revision + 1, state };
}

/** How an outcome about these keys is to be logged, by the policy. */
export function logging(policy: Policy, keys: readonly CompleteKey[]): ReturnType<typeof loggedFor> {
  const deposits = keys.map(({ deposit }) => deposit);
  return loggedFor(policy, deposits);
}

function isFor<P extends AskedPurpose>(
  asked: Recovery['asked'],
  purpose: P,
): asked is Extract<Recovery['asked'], { readonly purpose: P }> {
  return asked.purpose === purpose;
}
