import type { Call, Escrow } from '../escrow.js';
import { actorOf } from '../escrow.js';
import type { Deposit } from '../records/deposit.js';
import { EscrowError } from '../records/errors.js';
import { keyFree, repeatOf } from './idempotency.js';
import { parseId } from '../records/ids.js';
import type { GeneratedSpec } from '../records/keySpecs.js';
import type { Recorded } from '../ledger/act.js';
import { viewKey } from '../reads/keys.js';
import {
  type KeyOrder as AnyOrder,
  planAsDetail,
  planDeposit,
  unlessPolicyChanges,
} from './deposits/planDeposit.js';
import { depositAsDetail, sealDeposit } from './deposits/sealDeposit.js';

/** What kind of key is wanted, and for whom. */
export interface KeyOrder extends AnyOrder {
  readonly spec: GeneratedSpec;
}

/**
 * Generates a key and deposits it, in one act (docs/protocol.md, "Deposit"): there is no key without a deposit, and none without
 * a record. Administrators may order keys for anyone, owners for themselves. Asked again with the same Idempotency-Key,
 * it answers with the key that was made.
 *
 * @throws EscrowError `forbidden`, `owner-unknown`, `key-use-unsupported`, `key-spec-unsupported`, `rule-missing`,
 *   `depositary-unknown`, `depositary-not-enrolled`, `depositary-retired`, `quorum-impossible`, `quorum-too-large`,
 *   `delivery-not-allowed`, `delivery-key-missing`, `idempotency-key-reused`, `idempotency-in-progress`, `busy` (a policy is being put
 *   in force): each before anything is made; `token-unavailable`, `log-unavailable`.
 */
export function generateKey(escrow: Escrow, call: Call, order: KeyOrder): Promise<Recorded<Deposit>> {
  return escrow.ledger.perform({
    act: 'key.generate',
    actor: actorOf(call),
    decide: async (about) => {
      about({ owner: order.owner });
      const repeats = await repeatOf(escrow, call, ({ key }) => madeBefore(escrow, call, key));
      if (repeats !== undefined) return { repeats };
      const plan = await planDeposit(escrow, call, order);
      about({ key: plan.key });
      return {
        detail: planAsDetail(order, plan),
        claims: keyFree(escrow, call),
        holds: unlessPolicyChanges,
        plan,
      };
    },
    run: async (lent, plan) => {
      const made = await lent.generateUserKey(order.spec);
      const user = { ...made, born: 'inside' } as const;
      const { deposit, drills } = await sealDeposit(escrow, lent, { order, plan, user });
      return {
        detail: depositAsDetail(deposit, drills),
        digest: deposit.digest,
        changes: [{ change: 'deposit-created', deposit }],
        answer: deposit,
      };
    },
  });
}

/** The key that an act made which was done before. */
export async function madeBefore(escrow: Escrow, call: Call, key: string | undefined): Promise<Deposit> {
  const id = parseId('KeyId', key ?? '');
  if (id === undefined) throw new EscrowError('internal');
  return viewKey(escrow, call, id);
}
