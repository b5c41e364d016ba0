import { requestsOf } from '../../../client/resealing/resealJob.js';
import { facts, table } from '../../columns.js';
import type { CommandRow, Result } from '../../command.js';
import type { CommandArguments } from '../../commandArguments.js';
import type { Session } from '../../session.js';
import { JOB, jobOf, tallyOf } from './job.js';

/** How far a job has come. */
export const showJobCommand: CommandRow = {
  usage: 'show <job>',
  summary: 'shows how far a job has come',
  examples: [`reseal show ${JOB}`],
  run: showJob,
};

async function showJob(session: Session, given: CommandArguments): Promise<Result> {
  const job = jobOf(given.argument(0));
  const { client } = await session.connect();
  const requests = await session.busy('looking for the requests', () => requestsOf(client, job));
  const isOpen = requests.some(({ status }) => status === 'pending' || status === 'approved');
  return {
    json: {
      job,
      requests: requests.map(({ recovery, status, owner, keys }) => ({
        ...{ recovery, status, owner },
        keys: keys.map(({ key }) => key),
      })),
    },
    lines:
      requests.length === 0
        ? [`There is no ${job} that you have a part in.`]
        : [
            `Job ${job}`,
            ...facts(tallyOf(requests)),
            '',
            ...table(
              ['REQUEST', 'STATUS', 'KEYS', 'OWNER', 'APPROVED BY'],
              requests.map(({ recovery, status, keys, owner, approvedBy }) => [
                ...[recovery, status, String(keys.length), owner],
                approvedBy.join(', '),
              ]),
            ),
          ],
    next: isOpen ? `depositaries decide: escrowctl reseal approve ${job}` : 'escrowctl coverage',
  };
}
