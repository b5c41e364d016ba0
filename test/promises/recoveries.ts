import type { WireGrant, WireKey, WireRecovery, WireRecoveryOrder, WireScope } from '../../src/api/wire.js';
import { grantOf } from '../support/oneKey.js';
import type { System } from '../support/system.js';

/** What the tests ask for, unless they say otherwise. */
const SCOPE: WireScope = {
  app: 'app',
  operations: ['sign'],
  mechanisms: ['ES256'],
  input: 'message',
  maxUses: 10,
  duration: 'PT1H',
};

/** A request to use a key on its owner's behalf. */
export function toOperate(
  key: Pick<WireKey, 'key'>,
  scope: Partial<WireScope> = {},
  validFor = 'PT1H',
): WireRecoveryOrder {
  return {
    purpose: 'operate',
    keys: [key.key],
    reason: 'the owner is away',
    validFor,
    scope: { ...SCOPE, ...scope },
  };
}

/** A request to have a key released to whoever asks. */
export function toRelease(key: Pick<WireKey, 'key'>, validFor = 'P1D'): WireRecoveryOrder {
  return { purpose: 'release', keys: [key.key], reason: 'the owner has left', validFor };
}

/** Files a request as the manager. */
export async function filed(system: System, order: WireRecoveryOrder): Promise<WireRecovery> {
  return (await system.client('manager').requestRecovery(order)).result;
}

/** A grant that came of a request by the manager, approved by the manager and the first officer. */
export async function granted(
  system: System,
  key: Pick<WireKey, 'key'>,
  scope: Partial<WireScope> = {},
): Promise<WireGrant> {
  const { recovery } = await filed(system, toOperate(key, scope));
  await system.approve('manager', recovery);
  const approved = await system.approve('officer-1', recovery);
  return system.client('app').grant(grantOf(approved));
}
