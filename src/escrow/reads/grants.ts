import type { Escrow, Call } from '../escrow.js';
import { getGrant } from '../lookUp.js';
import type { PageRequest, Page } from '../ports/store.js';
import { type Grant, type GrantStatus, grantStatusAt } from '../records/grant.js';
import type { GrantId } from '../records/ids.js';
import { viewKey } from './keys.js';
import { seesAll } from '../records/principals.js';

/** A grant: for its app, its owner, administrators, auditors and the depositaries of its key. */
export async function viewGrant(
  escrow: Escrow,
  call: Pick<Call, 'caller'>,
  id: GrantId,
): Promise<{ readonly grant: Grant; readonly status: GrantStatus }> {
  const grant = await getGrant(escrow, id);
  const { caller } = call;
  if (!seesAll(caller) && grant.owner !== caller.id && grant.scope.app !== caller.id) {
    await viewKey(escrow, call, grant.key);
  }
  return { grant, status: grantStatusAt(grant, escrow.clock.now()) };
}

/** The grants that the caller may see: all, or those of keys that are theirs or they hold shares of, and those they may use. */
export async function listGrants(
  escrow: Escrow,
  call: Pick<Call, 'caller'>,
  page: PageRequest,
): Promise<Page<{ readonly grant: Grant; readonly status: GrantStatus }>> {
  const { caller } = call;
  const of = seesAll(caller) ? {} : { participant: caller.id };
  const { items, next } = await escrow.store.grants(of, page);
  const now = escrow.clock.now();
  return { items: items.map((grant) => ({ grant, status: grantStatusAt(grant, now) })), next };
}
