import { approve, intend } from '../../../client/depositary/depositary.js';
import { believeDue, hasIntended } from '../../../client/depositary/intents.js';
import type { BelievedRecovery } from '../../../client/depositary/believedRecovery.js';
import { requestsOf } from '../../../client/resealing/resealJob.js';
import type { RecoveryReply } from '../../../api/replies.js';
import { NotBelieved, ServerProblem } from '../../../client/errors.js';
import { durationInWords, keksInWords, reasonInWords } from '../../../escrow/records/inWords.js';
import { NotOpen, believeOpen, confirmed } from '../../believing.js';
import { facts, table } from '../../columns.js';
import type { CommandRow, Result } from '../../command.js';
import type { CommandArguments } from '../../commandArguments.js';
import { UsageError } from '../../failures.js';
import type { Session } from '../../session.js';
import { bar } from '../../spinner.js';
import { continuesInWords, quorumsInWords } from '../../words.js';
import { JOB, jobOf, tallyOf } from './job.js';

/** Deciding about a job: about all of its requests at once. */
export const approveJobCommand: CommandRow = {
  usage: 'approve <job>',
  summary: 'approves all requests of a job, after checking each of them',
  about:
    'Checks each as "recovery approve" does, shows what all of them would do, and asks once. To be run again goes on where it\n' +
    'ended; it skips what you have decided about. Where a rule takes replies after its delay, this hands in your intents first.',
  options: [{ flags: '--yes', about: 'do not ask (for scripts)' }],
  examples: [`reseal approve ${JOB} --as ~/.escrowd`],
  run: approveJob,
};

async function approveJob(session: Session, given: CommandArguments): Promise<Result> {
  const job = jobOf(given.argument(0));
  const connected = await session.connect();
  const { identity, client, log } = connected;
  const requests = await session.busy('looking for the requests', () => requestsOf(client, job));
  const waiting = requests.filter((request) => waitsFor(request, identity.id, session.now));
  if (waiting.length === 0) {
    return {
      json: { job, decided: [] },
      lines: [
        requests.length === 0
          ? `There is no ${job} that you have a part in.`
          : `Nothing of ${job} waits for you.`,
      ],
      next: requests.length === 0 ? undefined : `escrowctl reseal show ${job}`,
    };
  }
  const believed: BelievedRecovery[] = [];
  const left: Left[] = [];
  await session.busy('checking the requests', async (progress) => {
    for (const { recovery } of waiting) {
      await unlessMovedOn(recovery, left, async () => {
        believed.push(await believeOpen(session, connected, recovery));
      });
      progress(`checking the requests ${bar(believed.length + left.length, waiting.length)}`);
    }
  });
  if (believed.length === 0) return decidedResult(job, identity.id, [], left);
  requireJob(believed, job);
  // before the question: without the key the answer would be for nothing
  const depositaryKey = await identity.depositaryOpener();
  if (!given.flag('yes')) {
    await confirmed(session, jobLines(job, believed, continuesInWords(log)), 'Approve all of them?');
  }
  const decided: RecoveryReply[] = [];
  await session.busy('handing in the approvals', async (progress) => {
    for (const one of believed) {
      const { recovery } = one.shown;
      const isFirst = one.replies === 'afterDelay' && !hasIntended(one, identity.id);
      await unlessMovedOn(recovery, left, async () => {
        const { result } = isFirst
          ? await client.sendIntent(recovery, await intend(one, identity.signer, depositaryKey, session.now))
          : await client.sendApproval(
              recovery,
              await approve(
                await believeDue(one, identity.signer, { log, now: session.now }),
                identity.signer,
                depositaryKey,
                session.now,
              ),
            );
        decided.push(result);
      });
      progress(`handing in the approvals ${bar(decided.length, believed.length)}`);
    }
  });
  return decidedResult(job, identity.id, decided, left);
}

/** A request of a job that was not decided about, and why. */
interface Left {
  readonly recovery: string;
  readonly why: string;
}

/** What the server says of a request that has moved on since it was listed, or that nothing can come of: the others stand. */
const MOVED_ON: ReadonlySet<string> = new Set([
  'recovery-ended',
  'recovery-expired',
  'recovery-superseded',
  'quorum-complete',
  'approval-duplicate',
  'policy-changed',
  'depositary-not-enrolled',
]);

/** Does this about a request, or notes that there is nothing to be done about it. */
async function unlessMovedOn(recovery: string, left: Left[], work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    const isOne =
      error instanceof NotOpen ||
      (error instanceof ServerProblem && MOVED_ON.has(error.code)) ||
      // a rule may have the requester decide about nothing
      (error instanceof NotBelieved && error.code === 'attestation-missing');
    if (!isOne) throw error;
    left.push({ recovery, why: error.message });
  }
}

function decidedResult(
  job: string,
  by: string,
  decided: readonly RecoveryReply[],
  left: readonly Left[],
): Result {
  return {
    json: {
      job,
      decided: decided.map(({ recovery, status }) => ({ recovery, status })),
      ...(left.length === 0 ? {} : { left }),
    },
    lines: [
      `Decided about ${decided.length} ${decided.length === 1 ? 'request' : 'requests'} of ${job} as ${by}.`,
      ...facts(tallyOf(decided)),
      ...left.flatMap(({ recovery, why }) => ['', `Not decided about ${recovery}: ${why}`]),
    ],
    next: `escrowctl reseal show ${job}`,
    ...(left.length === 0 ? {} : { exit: 'refused' as const }),
  };
}

/** What was attested must say that it is of this job: nobody approves by the name of one what belongs to another. */
function requireJob(believed: readonly BelievedRecovery[], job: string): void {
  const stray = believed.find(({ attested: { asked } }) => asked.purpose !== 'reseal' || asked.job !== job);
  if (stray === undefined) return;
  throw new UsageError(`the server shows ${stray.attested.recovery} as of ${job}, and it is not`);
}

function waitsFor(
  { status, keys, owner, approvedBy, deniedBy, intendedBy = [], repliesFrom }: RecoveryReply,
  id: string,
  now: Date,
): boolean {
  const isAsked = keys.some(({ quorums }) => quorums.some((members) => members.includes(id)));
  const hasDecided = approvedBy.includes(id) || deniedBy.some(({ depositary }) => depositary === id);
  const isDue = !intendedBy.includes(id) || (repliesFrom !== undefined && now >= new Date(repliesFrom));
  return status === 'pending' && owner !== id && isAsked && !hasDecided && isDue;
}

/** All requests of a job in one view: whose keys, who can bring them back from then on, and what stands in between. */
function jobLines(job: string, believed: readonly BelievedRecovery[], continues: string): readonly string[] {
  const requesters = [...new Set(believed.map(({ attested }) => attested.requester))].join(' and ');
  const rows = believed.flatMap(({ attested: { owner, keys, asked } }) =>
    asked.purpose === 'reseal'
      ? [[owner, String(keys.length), asked.plan.rule, quorumsInWords(asked.plan.quorums)]]
      : [],
  );
  const deposits = believed.flatMap((one) => one.deposits);
  const delays = [...new Set(deposits.map(({ delayMs }) => delayMs))].sort((a, b) => a - b);
  const hasVeto = deposits.some(({ ownerMayVeto }) => ownerMayVeto);
  const count = believed.reduce((sum, { attested: { keys } }) => sum + keys.length, 0);
  return [
    `The token attests each of these ${believed.length} requests of ${job}, and each is in the log;`,
    `${continues}.`,
    '',
    `${requesters} ${requesters.includes(' ') ? 'ask' : 'asks'} that ${count} ${count === 1 ? 'key is' : 'keys are'} opened, as for a release, and sealed anew. Enough are then:`,
    '',
    ...table(['OWNER', 'KEYS', 'RULE', 'WHO CAN BRING THEM BACK'], rows),
    ...keksLines(believed),
    '',
    'Your shares prove this, or nothing is sent:',
    ...facts([
      ['delay', delays.map((ms) => (ms === 0 ? 'none' : durationInWords(ms))).join(', or ')],
      ['the owner', hasVeto ? 'may veto, of some or all' : 'has no veto'],
    ]),
    '',
    'Each key of each request: escrowctl recovery show REQUEST',
    '',
    ...new Set(believed.map(({ attested }) => reasonInWords(attested))),
    '',
  ];
}

/** From which key-encryption keys to which, over all requests; nothing where there are no newer ones. */
function keksLines(believed: readonly BelievedRecovery[]): readonly string[] {
  const said = believed.flatMap(({ attested: { asked } }) =>
    asked.purpose === 'reseal' ? keksInWords(asked.plan).split(', ') : [],
  );
  const lines = [...new Set(said)].filter((line) => line !== '').sort();
  return lines.length === 0 ? [] : ['', ...lines.map((line) => `${line}.`)];
}
