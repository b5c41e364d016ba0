import { askedAsJson, repliesDigest } from '../../escrow/records/digests.js';
import type { Reply } from '../../escrow/records/recovery.js';
import { sealed } from '../../escrow/records/sealing/sealed.js';
import type { ApprovalOrder, DenialOrder, IntentOrder } from '../../api/orders.js';
import type { RecoveryReply } from '../../api/replies.js';
import { encodeBase64 } from '../../log/note/base64.js';
import { canonicalJson } from '../../log/entry/canonical.js';
import type { Entry } from '../../log/entry/entry.js';
import { type Attested, publicKeyHash, verifyAttestation } from './attestation.js';
import type { DecryptionKey } from '../identity/decryptionKey.js';
import { NotBelieved } from '../errors.js';
import type { DueRecovery } from './dueRecovery.js';
import { checkShare, reencryptShare } from './share.js';
import { believeDeposits } from './shownDeposit.js';
import type { Signer } from '../identity/signingKey.js';
import { type DepositaryTrust, type BelievedRecovery, partOf } from './believedRecovery.js';
import { STATEMENT_TYPE, INTENT_TYPE } from '../../escrow/records/statementTypes.js';
import { signStatement } from '../statement.js';

/**
 * Checks what the server shows of a recovery request: the attestation against the pinned identity key and everything
 * shown; the log entries of its filing and of the newest deposits of its keys, their place under the checkpoint, the checkpoint against
 * the pinned log key and the last one seen; each share against the one that the entry of its deposit recorded. Nothing is decrypted here. When it resolves, the checkpoint is remembered.
 *
 * @throws NotBelieved at the first thing that does not hold; ServerProblem, ServerUnreachable when the consistency
 *   proof cannot be had.
 */
export async function believeRecovery(
  shown: RecoveryReply,
  trust: DepositaryTrust,
): Promise<BelievedRecovery> {
  const part = partOf(shown);
  const attested = await verifyAttestation(shown, part, trust, trust.now);
  const { entry, checkpoint } = await trust.log.believeEntry(part.logged);
  checkEntry(entry, shown, attested);
  const deposits = await believeDeposits(shown, part, attested, checkpoint, trust);
  const isAfter = [shown, ...deposits].some(({ replies }) => replies === 'afterDelay');
  const believed = {
    ...{ shown, attested, deposits, index: part.logged.index, checkpoint },
    logKey: trust.log.key,
    generations: trust.generations,
    approvedKeys: trust.approvedKeys,
    replies: isAfter ? 'afterDelay' : 'atOnce',
    filedAt: new Date(entry.time),
  } as const;
  return believed as unknown as BelievedRecovery;
}

/**
 * Says that this depositary intends to approve, where replies are taken after the delay. Each share is opened with its link, as
 * for an approval, so that one that could not be passed on is found now; nothing of it is sent, and each secret is overwritten
 * before this resolves.
 *
 * @throws NotBelieved `share-malformed`, `share-mismatch`; nothing is signed then
 */
export async function intend(
  recovery: BelievedRecovery,
  signer: Signer,
  depositaryKey: DecryptionKey,
  now: Date,
  holdsMs = recovery.attested.approvalsHoldMs,
): Promise<IntentOrder> {
  for (const { share, link, context, oaep } of recovery.deposits) {
    await checkShare({ share, link, context, depositaryKey, oaep });
  }
  await rememberOpened(recovery);
  const until = new Date(now.getTime() + Math.min(holdsMs, recovery.attested.approvalsHoldMs));
  return { statement: await signDecision(recovery, signer, now, until, { decision: 'intend' }) };
}

/**
 * Approves: opens this depositary's share of each key with its own key, and with what is in it the link, which proves that
 * the share is of what `deposits` says; encrypts it to the one-time key that was attested, and signs one statement, over all
 * keys of the request and all of these, which counts for `holdsMs`, or for as long as the request lets an approval count.
 * Each secret is overwritten before this resolves.
 *
 * @throws NotBelieved `share-malformed` when a share does not open, `share-mismatch` when one is of anything else than
 *   shown; nothing is signed then
 */
export async function approve(
  recovery: DueRecovery,
  signer: Signer,
  depositaryKey: DecryptionKey,
  now: Date,
  holdsMs = recovery.attested.approvalsHoldMs,
): Promise<ApprovalOrder> {
  const transportKey = Buffer.from(partOf(recovery.shown).transportKey, 'base64url');
  const replies: Reply[] = [];
  const isReseal = recovery.attested.asked.purpose === 'reseal';
  for (const { key, purpose, share, link, context, oaep } of recovery.deposits) {
    const reply = await reencryptShare({ share, link, context, depositaryKey, transportKey, oaep });
    replies.push({ key, ...(isReseal ? { purpose } : {}), reply: sealed('transport', reply) });
  }
  await rememberOpened(recovery);
  await rememberReleased(recovery, signer.id);
  const until = new Date(now.getTime() + Math.min(holdsMs, recovery.attested.approvalsHoldMs));
  const statement = await signDecision(recovery, signer, now, until, {
    decision: 'approve',
    replies: repliesDigest(replies),
  });
  return {
    statement,
    replies: replies.map(({ reply, ...of }) => ({ ...of, reply: Buffer.from(reply).toString('base64url') })),
  };
}

/** Denies, with a reason that the requester, the owner and the auditor will read. No share is opened. */
export async function deny(
  recovery: BelievedRecovery,
  signer: Signer,
  reason: string,
  now: Date,
): Promise<DenialOrder> {
  const until = recovery.attested.expiresAt;
  return { statement: await signDecision(recovery, signer, now, until, { decision: 'deny', reason }) };
}

/** What has opened is of the deposits that were shown: who shows an older one from now on is not believed. */
async function rememberOpened({ deposits, generations }: BelievedRecovery): Promise<void> {
  await generations.opened(new Map(deposits.map(({ key, generation }) => [key, generation])));
}

/** What this depositary is to receive, as far as a share has just proven what it is. */
async function rememberReleased(
  { attested: { asked }, deposits, shown, approvedKeys }: BelievedRecovery,
  depositary: string,
): Promise<void> {
  if (asked.purpose !== 'release' || asked.recipient !== depositary) return;
  const proven = deposits.flatMap(({ key, version }) => {
    const about = shown.keys.find((each) => each.key === key);
    const hash = version === 1 || about === undefined ? null : publicKeyHash(about);
    return hash === null ? [] : [[key, hash] as const];
  });
  await approvedKeys.approved(new Map(proven));
}

/** The entry must be the filing of this very request, with this one-time key. */
function checkEntry(entry: Entry, shown: RecoveryReply, attested: Attested): void {
  const { act, phase, actor, subject, detail } = entry;
  const isThisFiling =
    act === 'recovery.request' &&
    phase === 'done' &&
    actor === shown.requester &&
    subject.recovery === attested.recovery &&
    canonicalJson(subject.keys ?? []) === canonicalJson(attested.keys) &&
    subject.owner === shown.owner &&
    detail['requestHash'] === attested.requestHash &&
    detail['transport'] === attested.transport;
  if (!isThisFiling) throw new NotBelieved('entry-mismatch');
}

type Decision =
  | { readonly decision: 'approve'; readonly replies: string }
  | { readonly decision: 'intend' }
  | { readonly decision: 'deny'; readonly reason: string };

/**
 * `keys` are all of the request, in ascending order, whether the depositary has a share of them or not; `transport` is the
 * SHA-256 (hex) of the transport key's DER SubjectPublicKeyInfo, `replies` that of the canonical JSON of an object with the
 * SHA-256 (hex) of each reply by its key; `checkpoint` is the one that the depositary saw, its root in base64.
 */
function signDecision(
  { attested, checkpoint, logKey }: BelievedRecovery,
  signer: Signer,
  now: Date,
  until: Date,
  decision: Decision,
): Promise<string> {
  const type = decision.decision === 'intend' ? INTENT_TYPE : STATEMENT_TYPE;
  const lifetimeMs = until.getTime() - now.getTime();
  return signStatement(
    signer,
    type,
    { logKey, now, lifetimeMs },
    {
      ...decision,
      recovery: attested.recovery,
      requestHash: attested.requestHash,
      keys: attested.keys,
      ...askedAsJson(attested.asked),
      transport: attested.transport,
      checkpoint: { size: checkpoint.size, root: encodeBase64(checkpoint.root) },
    },
  );
}
