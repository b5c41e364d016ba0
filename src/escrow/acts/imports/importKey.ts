import type { Call, Escrow } from '../../escrow.js';
import { actorOf } from '../../escrow.js';
import { CameToNothing, type Recorded } from '../../ledger/act.js';
import type { LentFor } from '../../ledger/means.js';
import type { ImportPairFacts } from '../../logged/logFacts.js';
import type { Deposit } from '../../records/deposit.js';
import { sha256Hex } from '../../records/digests.js';
import { EscrowError } from '../../records/errors.js';
import type { ImportId } from '../../records/ids.js';
import { type ImportableSpec, KEY_SPECS, isWrappedFrame } from '../../records/keySpecs.js';
import type { Sealed } from '../../records/sealing/sealed.js';
import {
  type DepositPlan,
  type KeyOrder,
  planAsDetail,
  planDeposit,
  unlessPolicyChanges,
} from '../deposits/planDeposit.js';
import { depositAsDetail, sealDeposit } from '../deposits/sealDeposit.js';
import { madeBefore } from '../generateKey.js';
import { keyFree, repeatOf } from '../idempotency.js';

/** Which key or secret is imported, for whom, and under which pair. */
export type ImportOrder = KeyOrder & {
  readonly pair: ImportId;
  /** RSA-OAEP of an AES-256 key to the pair, and the private key (PKCS#8) or the frame under that (CKM_RSA_AES_KEY_WRAP). */
  readonly wrapped: Sealed<'import'>;
} & Claimed;

/** What it is to be. */
type Claimed =
  | {
      readonly spec: ImportableSpec;
      /** DER SubjectPublicKeyInfo of the key, in the spelling that keys have here. */
      readonly publicKey: Uint8Array;
    }
  | {
      readonly spec: 'secret';
      /** Of the frame that the secret is in (see `records/keySpecs.ts`). */
      readonly checkValue: Uint8Array;
    };

/**
 * Takes a private key or a secret from outside and deposits it, in one act: it is unwrapped in the token and proven there to be the
 * one that is claimed, before anything of it is recorded; then it is deposited as a key that is generated, by the same rules, and is for ever
 * said to be born outside. Administrators may import keys for anyone, owners for themselves, where the rule allows it at all.
 * The import pair is used up by the attempt, whatever comes of it. Asked again with the same Idempotency-Key, it answers
 * with the key that was imported.
 *
 * @throws EscrowError what `planDeposit` throws, `import-not-allowed`, `import-key-gone`, `busy` (a policy is being put in force), `idempotency-key-reused`,
 *   `idempotency-in-progress`: each before anything is used up; `import-malformed`, `import-mismatch`, `token-unavailable`,
 *   `log-unavailable`.
 */
export function importKey(escrow: Escrow, call: Call, order: ImportOrder): Promise<Recorded<Deposit>> {
  return escrow.ledger.perform({
    act: 'key.import',
    actor: actorOf(call),
    decide: async (about) => {
      about({ owner: order.owner });
      const repeats = await repeatOf(escrow, call, ({ key }) => madeBefore(escrow, call, key));
      if (repeats !== undefined) return { repeats };
      const plan = await planDeposit(escrow, call, order);
      if (plan.rule.import !== true) throw new EscrowError('import-not-allowed');
      await escrow.followed.caughtUp();
      const now = escrow.clock.now();
      const checkPair = (pair: ImportPairFacts | undefined): void => {
        const isUsable = pair?.by === call.caller.id && now.getTime() < pair.expiresAtMs;
        if (!isUsable) throw new EscrowError('import-key-gone');
      };
      checkPair(escrow.followed.facts.importPair(order.pair));
      about({ key: plan.key });
      return {
        detail: {
          ...planAsDetail(order, plan),
          import: order.pair,
          bornOutside: true,
          ...claimedAsDetail(order),
        },
        claims: keyFree(escrow, call),
        holds: (asOf) => {
          unlessPolicyChanges(asOf);
          checkPair(asOf.imports?.pair);
        },
        plan,
      };
    },
    run: async (lent, plan) => {
      const obsolete = { importPair: order.pair };
      try {
        const { deposit, drills } = await takeIn(escrow, lent, order, plan);
        return {
          detail: depositAsDetail(deposit, drills),
          digest: deposit.digest,
          changes: [{ change: 'deposit-created', deposit }],
          answer: deposit,
          obsolete,
        };
      } catch (error) {
        const why =
          error instanceof EscrowError ? error : new EscrowError('internal', undefined, { cause: error });
        throw new CameToNothing(why, { detail: {}, changes: [], obsolete });
      }
    },
  });
}

async function takeIn(
  escrow: Escrow,
  lent: LentFor<'key.import'>,
  order: ImportOrder,
  plan: DepositPlan,
): ReturnType<typeof sealDeposit> {
  const { pair, wrapped, spec } = order;
  const unwrapped =
    'checkValue' in order
      ? await lent.unwrapSecret({ pair, wrapped, checkValue: order.checkValue })
      : await lent.unwrapImported({ pair, wrapped, spec: order.spec, claimed: order.publicKey });
  if (!('opened' in unwrapped)) throw new EscrowError('import-malformed');
  const { key, isClaimed } = unwrapped.opened;
  if (!isClaimed) throw new EscrowError('import-mismatch');
  const known =
    'checkValue' in order
      ? { publicKey: undefined, checkValue: order.checkValue }
      : { publicKey: order.publicKey };
  const user = { key, ...known, born: 'outside' } as const;
  const checked: LentFor<'key.import'> = {
    ...lent,
    wrapUnderKek: async (...given) => {
      const made = await lent.wrapUnderKek(...given);
      if (!isWhole(spec, made.sealed.length)) throw new EscrowError('import-malformed');
      return made;
    },
  };
  return sealDeposit(escrow, checked, { order, plan, user });
}

/** Which key or secret it is said to be, in the entry of the attempt. */
function claimedAsDetail(claimed: Claimed): Readonly<Record<string, string>> {
  return 'checkValue' in claimed
    ? { checkValue: sha256Hex(claimed.checkValue) }
    : { publicKey: sha256Hex(claimed.publicKey) };
}

/**
 * Whether so many bytes under a KEK can be a private key of this specification. A token takes RSA keys of three primes and writes
 * two of them, or leaves numbers out: what came back would be no key. With two primes all numbers together have nine halves of the
 * length of the modulus (RFC 8017 appendix A.1.2). A secret has a frame of one of a few lengths.
 */
function isWhole(spec: ImportOrder['spec'], wrappedBytes: number): boolean {
  if (spec === 'secret') return isWrappedFrame(wrappedBytes);
  const row = KEY_SPECS[spec];
  if (!('modulusBits' in row)) return true;
  const usual = (row.modulusBits * 9) / 16 + 80;
  return wrappedBytes >= usual - 64 && wrappedBytes <= usual + 32;
}
