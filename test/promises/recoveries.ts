import type { RecoveryOrder, ScopeOrder } from '../../src/api/orders.js';
import type { GrantReply, KeyReply, RecoveryReply } from '../../src/api/replies.js';
import { grantOf } from '../support/oneKey.js';
import type { System } from '../support/system.js';

/** What the tests ask for, unless they say otherwise. */
const SCOPE: ScopeOrder = {
  app: 'app',
  operations: ['sign'],
  mechanisms: ['ES256'],
  input: 'message',
  maxUses: 10,
  duration: 'PT1H',
};

/** A request to use a key on its owner's behalf. */
export function toOperate(
  key: Pick<KeyReply, 'key'>,
  scope: Partial<ScopeOrder> = {},
  validFor = 'PT1H',
): RecoveryOrder {
  return {
    purpose: 'operate',
    keys: [key.key],
    reason: 'the owner is away',
    validFor,
    scope: { ...SCOPE, ...scope },
  };
}

/** A request to have a key released to whoever asks. */
export function toRelease(key: Pick<KeyReply, 'key'>, validFor = 'P1D'): RecoveryOrder {
  return { purpose: 'release', keys: [key.key], reason: 'the owner has left', validFor };
}

/** Files a request as the manager. */
export async function filed(system: System, order: RecoveryOrder): Promise<RecoveryReply> {
  return (await system.client('manager').requestRecovery(order)).result;
}

/** A grant that came of a request by the manager, approved by the manager and the first officer. */
export async function granted(
  system: System,
  key: Pick<KeyReply, 'key'>,
  scope: Partial<ScopeOrder> = {},
): Promise<GrantReply> {
  const { recovery } = await filed(system, toOperate(key, scope));
  await system.approve('manager', recovery);
  const approved = await system.approve('officer-1', recovery);
  return system.client('app').grant(grantOf(approved));
}
