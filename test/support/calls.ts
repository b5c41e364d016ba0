import type { Call } from '../../src/escrow/escrow.js';
import { callOf } from '../../src/escrow/escrow.js';
import { KnownCaller } from '../../src/escrow/ledger/knownCaller.js';
import type { Policy } from '../../src/escrow/records/policy.js';
import type { Principal } from '../../src/escrow/records/principals.js';
import { freshBytes } from './fresh.js';

/** A call of somebody, signed with their first key, as it is let in by this policy, which lists them so. */
export function callBy(caller: Principal, by: Pick<Policy, 'version'> & Partial<Policy>, jws?: string): Call {
  const kid = caller.keys[0]?.thumbprint ?? '';
  const others = [...(by.principals ?? [])].filter(([id]) => id !== caller.id);
  // the last one has the key
  const principals = new Map([...others, [caller.id, caller]]);
  const policy = { rules: [], ...by, principals } as unknown as Policy;
  const known = KnownCaller.find(policy, { kid });
  if (known === undefined) throw new Error('a caller has a key');
  const jti = freshBytes(8).toString('hex');
  return callOf(known, { request: { jws: jws ?? `a.${jti}.c`, kid, jti, expiresAt: new Date(8e15) } });
}
