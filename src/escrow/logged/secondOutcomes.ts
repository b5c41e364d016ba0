import type { Entry } from '../../log/entry/entry.js';
import { TAKING_AWAY } from '../records/takingAway.js';

/** Acts of which nobody has more when they count, whoever has closed them before: what they end is over. */
const ENDS: ReadonlySet<string> = new Set<string>([
  ...TAKING_AWAY,
  'recovery.expire',
  'recovery.supersede',
  'recovery.confirm',
  'recovery.forget',
  'grant.expire',
  'grant.exhaust',
  'import.expire',
]);
/** Acts that use up a request. */
const RECOVERING: ReadonlySet<string> = new Set(['recovery.activate', 'recovery.release', 'recovery.reseal']);

/**
 * What follows from an outcome whose act was closed as interrupted before, or that comes when its request has ended meanwhile. One
 * that ends something `counts`: it takes away, and harms nobody. Of a release, an activation or a reseal the request is `over`, since something may have been done by it: there is no
 * other by the same approvals, and nothing comes of it. From any other nothing follows.
 */
export function followsFromSecond({
  act,
  phase,
  error,
}: Pick<Entry, 'act' | 'phase' | 'error'>): 'counts' | 'over' | undefined {
  if (phase === 'done' && ENDS.has(act)) return 'counts';
  return (phase === 'done' && RECOVERING.has(act)) || error === 'recovery-failed' ? 'over' : undefined;
}
