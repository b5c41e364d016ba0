import { releasedAsJson, releasedDigest } from '../checks/checkedRelease.js';
import { whileLogged } from '../checks/checkedRequest.js';
import { type Escrow, type Call, actorOf } from '../escrow.js';
import type { Recorded } from '../ledger/act.js';
import { aloneOn } from '../ports/journal.js';
import type { DepositaryKey } from '../ports/token.js';
import { EscrowError } from '../records/errors.js';
import type { RecoveryId, KeyId, PrincipalId } from '../records/ids.js';
import type { Policy } from '../records/policy.js';
import type { Recovery, ReleasedKey } from '../records/recovery.js';
import type { Held } from '../records/sealing/sealed.js';
import { quorumsAsJson } from '../rules/quorumProgress.js';
import type { AskedKey } from '../rules/requestTerms.js';
import { bringBack, getRecoverable, held, logging, next, opened, endUnlessOpened } from './reopenDeposit.js';

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
): Promise<Recorded<readonly ReleasedKey[]>> {
  return escrow.ledger.perform({
    act: 'recovery.release',
    actor: actorOf(call),
    decide: async (about) => {
      const { policy } = call;
      const check = ({ asked }: Recovery): void => {
        if (asked.purpose === 'release' && asked.recipient !== call.caller.id)
          throw new EscrowError('forbidden');
      };
      const found = await getRecoverable(escrow, order.recovery, about, 'release', check, { policy });
      const { request, recovery, keys } = found;
      if (!request.approvals.some(({ depositary }) => depositary === call.caller.id)) {
        throw new EscrowError('forbidden', 'A key is released only to a depositary who approved.');
      }
      const recipient = await getRecipientKey(escrow, policy, keys, call.caller.id);
      return {
        detail: { requestHash: recovery.requestHash, quorums: quorumsAsJson(keys) },
        claims: [aloneOn(recovery)],
        holds: whileLogged(request.facts),
        plan: { ...found, recipient },
        ...logging(policy, keys),
      };
    },
    run: async (lent, { request, recovery, keys, recipient }) => {
      const users = await endUnlessOpened(escrow, recovery, async () => {
        const users: { readonly key: KeyId; readonly user: Held<'user-key'> }[] = [];
        for (const one of keys) {
          const { key, spec } = one.deposit;
          const wrapped = await bringBack(lent, request, one);
          const user = opened(await held('key', key, lent.unwrapForRelease({ wrapped, spec })), 'key', key);
          users.push({ key, user });
        }
        return users;
      });
      const answers: ReleasedKey[] = [];
      for (const { key, user } of users) {
        const x = await lent.generateTransferKey('depositary');
        const transferKey = await lent.wrapToDepositary(x, recipient);
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
async function getRecipientKey(
  { token }: Escrow,
  policy: Policy,
  keys: readonly AskedKey[],
  recipient: PrincipalId,
): Promise<DepositaryKey> {
  const listed = policy.principals.get(recipient)?.depositaryKey;
  const enrolled = (await token.enrolled()).find(({ id }) => id === recipient);
  const isTheirs = keys.every(({ sealed }) => {
    const approvedWith = sealed.shares.find(({ depositary }) => depositary === recipient)?.recipient;
    return approvedWith !== undefined && listed === approvedWith && enrolled?.fingerprint === approvedWith;
  });
  if (isTheirs && enrolled !== undefined) return enrolled;
  throw new EscrowError(
    'depositary-not-enrolled',
    'The key that the recipient approved with is not the one that the directory lists and the token has for them now.',
  );
}
