import type { ApprovalOrder } from '../../src/api/orders.js';
import type { RecoveryReply, ReleaseReply, ReleasedKeysReply } from '../../src/api/replies.js';

/*
 * Most tests are about requests for one key: what of lists of one they are about.
 */

/** The grant of a request that is active. */
export function grantOf(recovery: RecoveryReply): string {
  const grant = only(recovery.keys).grant?.grant;
  if (grant === undefined) throw new Error(`the request is ${recovery.status} and gave no grant`);
  return grant;
}

/** The reply of an approval. */
export function replyOf({ replies }: ApprovalOrder): string {
  return only(replies).reply;
}

/** A statement with a reply about the key of an approval. */
export function withReply({ statement, replies }: ApprovalOrder, reply: string): ApprovalOrder {
  return { statement, replies: [{ key: only(replies).key, reply }] };
}

/** The key that was released. */
export function releaseOf({ keys }: ReleasedKeysReply): ReleaseReply {
  return only(keys);
}

/** The one of a list of one. */
export function only<T>(items: readonly T[]): T {
  const [item, ...more] = items;
  if (item === undefined || more.length > 0) throw new Error(`a list of ${items.length}, and not of one`);
  return item;
}
