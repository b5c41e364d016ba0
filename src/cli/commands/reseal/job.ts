import type { RecoveryReply } from '../../../api/replies.js';
import { parseId } from '../../../escrow/records/ids.js';
import { UsageError } from '../../failures.js';

/** For examples. */
export const JOB = 'job_0123456789abcdef0123456789abcdef';

/** @throws UsageError when it is no id of a job */
export function jobOf(text: string): string {
  const job = parseId('JobId', text);
  if (job === undefined) throw new UsageError(`${text} is not the id of a job`, 'it begins with job_');
  return job;
}

/** How many keys are where. */
export function tallyOf(requests: readonly RecoveryReply[]): readonly (readonly [string, string])[] {
  const counts = new Map<string, number>();
  for (const { status, keys } of requests) counts.set(status, (counts.get(status) ?? 0) + keys.length);
  return [...counts].map(([status, keys]) => [status, `${keys} ${keys === 1 ? 'key' : 'keys'}`]);
}
