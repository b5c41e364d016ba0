import { whileLogged } from '../../checks/checkedRequest.js';
import type { Call, Escrow } from '../../escrow.js';
import { actorOf } from '../../escrow.js';
import { type Actor, CameToNothing, DAEMON, type Recorded } from '../../ledger/act.js';
import type { LentFor } from '../../ledger/means.js';
import { type Change, aloneOn } from '../../ports/journal.js';
import type { EnrolledDepositary, Wrapped } from '../../ports/token.js';
import { type Deposit, generationOf, isDepositaryOf } from '../../records/deposit.js';
import { canonicalHash, depositDigest, sha256Hex } from '../../records/digests.js';
import { MAX_CHAINED } from '../../records/drills/drilling.js';
import { EscrowError } from '../../records/errors.js';
import type { RecoveryId } from '../../records/ids.js';
import { layersFor } from '../../records/sealing/layers.js';
import { hasRole } from '../../records/principals.js';
import type { Asked, Recovery } from '../../records/recovery.js';
import { type ResealPlan, type ResealedKey, resealedAsJson } from '../../records/sealing/resealing.js';
import { type CompleteKey, quorumsAsJson } from '../../rules/quorumProgress.js';
import { plannedKek } from '../../rules/kekRotation.js';
import type { AskedKey } from '../../rules/requestTerms.js';
import type { CheckedRequest } from '../../checks/checkedRequest.js';
import { requirePlanned, unlessPolicyOrKeysChange } from '../deposits/planReseal.js';
import { type DrillEnds, type SealedPurpose, overwritten, sealPurpose } from '../deposits/sealDeposit.js';
import {
  type ReadRequest,
  bringBack,
  endUnlessOpened,
  getRecoverable,
  held,
  logging,
  next,
  opened,
} from '../reopenDeposit.js';

/** A deposit that takes the place of another. */
interface Replacement {
  readonly before: Deposit;
  readonly after: Deposit;
  /** What its entry records for drills, by purpose; undefined where it has no room for it. */
  readonly drills: Readonly<Record<string, DrillEnds>> | undefined;
}

/**
 * Seals approved keys anew, all of them or none: the quorum's layers are peeled off, down to each key under its key-encryption key,
 * and put on again for the people of the plan, with fresh secrets. In between the key shows by its own use that it is the key, and goes
 * under a new key-encryption key where the plan has that one rotated: each in one call of the token, and nothing of it is in flight
 * after. The daemon does so by itself when
 * the last approval arrives, or the delay is over; this is for when that was cut short. When another policy is in force than the
 * request names, the request ends.
 *
 * @throws EscrowError `recovery-unknown`, `recovery-ended`, `recovery-expired`, `recovery-superseded`, `forbidden`,
 *   `quorum-incomplete`, `delay-running`, `policy-changed` and `recovery-failed` (with either, the request has ended), `busy`.
 */
export async function resealKeys(
  escrow: Escrow,
  call: Call,
  order: { readonly recovery: RecoveryId },
): Promise<Recorded<Recovery>> {
  return reseal(escrow, actorOf(call), order.recovery, {}, ({ requester }, keys) => {
    const hasPart =
      requester === call.caller.id ||
      keys.some(({ sealed }) => isDepositaryOf(sealed, call.caller.id)) ||
      hasRole(call.caller, 'admin');
    if (!hasPart) throw new EscrowError('forbidden');
  });
}

/** The same by the daemon itself; `read` is the request as its last approval has left it, and `approval` the entry of that. */
export function resealByItself(
  escrow: Escrow,
  id: RecoveryId,
  because: { readonly approval?: number } = {},
  read?: ReadRequest,
): Promise<Recorded<Recovery>> {
  return reseal(escrow, DAEMON, id, because, () => undefined, read);
}

function reseal(
  escrow: Escrow,
  actor: Actor,
  id: RecoveryId,
  because: { readonly approval?: number },
  check: (recovery: Recovery, keys: readonly AskedKey[]) => void,
  read?: ReadRequest,
): Promise<Recorded<Recovery>> {
  let known = read;
  return escrow.ledger.perform({
    act: 'recovery.reseal',
    actor,
    decide: async (about) => {
      const before = known;
      known = undefined;
      const options = { read: before, policy: actor.known?.policy };
      const found = await getRecoverable(escrow, id, about, 'reseal', check, options);
      const { request, recovery, keys, policy } = found;
      return {
        detail: { requestHash: recovery.requestHash, quorums: quorumsAsJson(keys), ...because },
        claims: [aloneOn(recovery), { claim: 'policy-in-force', version: policy.version }],
        holds: (asOf) => {
          whileLogged(request.facts)(asOf);
          unlessPolicyOrKeysChange(asOf);
        },
        plan: found,
        ...logging(policy, keys),
      };
    },
    run: async (lent, { request, recovery, asked, keys, policy }) => {
      const depositaries = await endUnlessPlanned(escrow, recovery, () => {
        for (const { deposit } of keys) requireGeneration(deposit, asked);
        return requirePlanned(escrow, policy, asked);
      });
      const replacements = await endUnlessOpened(escrow, recovery, () =>
        sealAnew(escrow, lent, { request, asked, keys, depositaries }),
      );
      const resealed = next(recovery, { status: 'resealed', at: escrow.clock.now() });
      return {
        detail: { job: asked.job, keys: resealedAsJson(factsOf(escrow, asked.plan, replacements)) },
        digest: canonicalHash(Object.fromEntries(replacements.map(({ after }) => [after.key, after.digest]))),
        changes: [
          { change: 'recovery-saved', recovery: resealed },
          ...replacements.map(({ before, after }): Change => ({
            change: 'deposit-replaced',
            deposit: after,
            replaced: before.digest,
          })),
        ],
        answer: resealed,
        obsolete: { transport: recovery.id },
      };
    },
  });
}

/** A request that was planned by another policy, with other keys of people, or of another deposit comes to nothing and must not stand. */
async function endUnlessPlanned<T>(escrow: Escrow, recovery: Recovery, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof EscrowError) || !OUTDATED.has(error.code)) throw error;
    const state = { status: 'failed', reason: error.detail, at: escrow.clock.now() } as const;
    throw new CameToNothing(new EscrowError('recovery-failed', error.detail, { cause: error }), {
      detail: { status: 'failed', part: 'plan', because: error.code },
      changes: [{ change: 'recovery-saved', recovery: next(recovery, state) }],
      obsolete: { transport: recovery.id },
    });
  }
}

const OUTDATED: ReadonlySet<string> = new Set([
  'policy-changed',
  'depositary-not-enrolled',
  'recovery-superseded',
]);

interface ToSeal {
  readonly request: CheckedRequest;
  readonly asked: Extract<Asked, { readonly purpose: 'reseal' }>;
  /** Each key once for each of its purposes, in their order. */
  readonly keys: readonly CompleteKey[];
  readonly depositaries: readonly EnrolledDepositary[];
}

async function sealAnew(
  escrow: Escrow,
  lent: LentFor<'recovery.reseal'>,
  { request, asked, keys, depositaries }: ToSeal,
): Promise<readonly Replacement[]> {
  const { quorums } = asked.plan;
  const replacements: Replacement[] = [];
  for (const before of new Set(keys.map(({ deposit }) => deposit))) {
    const binding = { version: 2, generation: generationOf(before) + 1, token: escrow.tokenId } as const;
    const sealed: SealedPurpose[] = [];
    for (const key of keys.filter(({ deposit }) => deposit === before)) {
      const of = layersFor({ ...before, binding }, key.sealed.purpose, { quorums, recipients: depositaries });
      const wrapped = await bringBack(lent, request, key);
      const made = await overwritten(wrapped, async () => {
        await prove(lent, key, wrapped);
        const under = await rotated(lent, asked.plan, key, wrapped);
        return overwritten(under, () => sealPurpose(of, escrow, lent, under, { quorums, depositaries }));
      });
      sealed.push(made);
    }
    const rule = {
      name: asked.plan.rule,
      policyVersion: asked.policy.version,
      policyHash: asked.policy.hash,
    };
    const after = { ...before, binding, rule, purposes: sealed.map(({ purpose }) => purpose) };
    replacements.push({
      before,
      after: { ...after, digest: depositDigest(after) },
      drills:
        depositaries.length > MAX_CHAINED
          ? undefined
          : Object.fromEntries(sealed.map(({ purpose, drills }) => [purpose.purpose, drills])),
    });
  }
  return replacements;
}

/** It is the key, by its own use: what is no longer, or never was, ends the request, and is not sealed anew as if it were. */
async function prove(
  lent: Pick<LentFor<'recovery.reseal'>, 'proveWrapped'>,
  { deposit: { key, spec, use, publicKey, checkValue }, sealed: { purpose } }: CompleteKey,
  wrapped: Wrapped,
): Promise<void> {
  const order = { wrapped, purpose, spec, use, publicKey, checkValue };
  opened(await held('key', key, lent.proveWrapped(order)), 'key', key);
}

/** A key under the key-encryption key that was planned for it. */
async function rotated(
  lent: Pick<LentFor<'recovery.reseal'>, 'rewrap'>,
  plan: ResealPlan,
  { deposit: { key, spec, use }, sealed: { purpose } }: CompleteKey,
  wrapped: Wrapped,
): Promise<Wrapped> {
  const to = plannedKek(plan, wrapped.kek, { purpose, spec, use });
  if (to === wrapped.kek) return wrapped;
  return opened(await held('key', key, lent.rewrap({ wrapped, purpose, spec, use, to })), 'key', key);
}

/** That was planned with, and is what people approved. */
function requireGeneration(deposit: Deposit, { plan }: ToSeal['asked']): void {
  if (plan.from[deposit.key] !== generationOf(deposit)) throw new EscrowError('recovery-superseded');
}

function factsOf(
  { followed }: Pick<Escrow, 'followed'>,
  { rotations }: ResealPlan,
  replacements: readonly Replacement[],
): ReadonlyMap<string, ResealedKey> {
  return new Map(
    replacements.map(({ before, after, drills }) => [
      after.key,
      {
        generation: generationOf(after),
        previous: indexOf(followed, before),
        digest: after.digest,
        shares: Object.fromEntries(
          after.purposes.map(({ purpose, shares }) => [
            purpose,
            Object.fromEntries(shares.map(({ depositary, share }) => [depositary, sha256Hex(share)])),
          ]),
        ),
        ...(drills === undefined ? {} : { drills }),
        ...(rotations === undefined
          ? {}
          : { keks: Object.fromEntries(after.purposes.map(({ purpose, kek }) => [purpose, kek])) }),
      },
    ]),
  );
}

/** Of the entry that recorded the deposit which is replaced, and no other. */
function indexOf({ facts }: Escrow['followed'], { key, digest }: Deposit): number {
  const recorded = facts.deposit(key);
  if (recorded?.digest === digest) return recorded.index;
  throw new EscrowError('internal', `${key} is not deposited as it was when it was opened.`);
}
