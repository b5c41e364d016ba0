import { randomBytes } from 'node:crypto';

import { approve, intend } from '../../client/depositary/depositary.js';
import { believeDue, hasIntended } from '../../client/depositary/intents.js';
import type { BelievedRecovery } from '../../client/depositary/believedRecovery.js';
import {
  type Filed,
  type WhichKeys,
  fileReseals,
  keysLeft,
  newJob,
  requestsOf,
} from '../../client/resealing/resealJob.js';
import type { RecoveryReply } from '../../api/replies.js';
import { NotBelieved, ServerProblem } from '../../client/errors.js';
import { durationInWords, keksInWords, reasonInWords } from '../../escrow/records/inWords.js';
import { printable } from '../../escrow/records/freeText.js';
import { parseId } from '../../escrow/records/ids.js';
import { formatDuration } from '../../policy/durations.js';
import { NotOpen, believeOpen, confirmed } from '../believing.js';
import { facts, table } from '../columns.js';
import type { CommandRow, Result } from '../command.js';
import type { CommandArguments } from '../commandArguments.js';
import { UsageError } from '../failures.js';
import type { Session } from '../session.js';
import { bar } from '../spinner.js';
import { continuesInWords, quorumsInWords } from '../words.js';

const JOB = 'job_0123456789abcdef0123456789abcdef';

/** Asks that keys are sealed anew. */
export const resealCommand: CommandRow = {
  usage: 'reseal [keys...]',
  summary: 'asks that keys are sealed to those whom the rules name now',
  about:
    'For when somebody leaves, or has lost their key: those who can bring a key back now open it, as for a release, and it is\n' +
    'sealed again to those whom the policy in force gives. The key stays what it is, and so do its terms. The depositaries before\n' +
    'open nothing any more of what the server keeps from then on; an older copy of the database still opens for them, until\n' +
    'server-for:ID of who left is destroyed in every token. A server that was read by somebody meanwhile has seen what\n' +
    'a recovery shows it: only another key-encryption key ends that.\n' +
    'Where a ceremony has made newer key-encryption keys (ceremony renew), the keys are put under these by the way, as far as they can be:\n' +
    'the requests say from which to which. The old one is destroyed at a ceremony, when nothing lies under it any more.\n' +
    'One job may be many requests; each person decides about all of them at once: reseal approve JOB. To be run again with --job goes\n' +
    'on where it ended.',
  options: [
    { flags: '--leaving <id>', about: 'all keys that this depositary has a share of' },
    {
      flags: '--other-key <id>',
      about: 'all keys whose share went to another key of this depositary than counts now',
    },
    { flags: '--rule <name>', about: 'all keys that were deposited by this rule' },
    {
      flags: '--older-keks',
      about:
        'all keys under key-encryption keys that there are newer ones of, as far as these can be rotated',
    },
    {
      flags: '--reason <text>',
      about: 'why, which must be said; depositaries, owners and auditor will read it',
    },
    { flags: '--valid-for <duration>', about: 'how long the requests can be approved', default: '7d' },
    { flags: '--job <id>', about: 'go on with this job' },
    { flags: '--yes', about: 'do not ask (for scripts)' },
  ],
  examples: [
    'reseal --leaving officer-2 --reason "Otto has left" --as ~/.escrowd',
    'reseal --other-key officer-2 --reason "Otto has a new card"',
    'reseal --older-keks --reason "the server was read by somebody"',
    'reseal KEY1 KEY2 --reason "the new rule for finance"',
    `reseal --leaving officer-2 --reason "Otto has left" --job ${JOB}`,
  ],
  run: reseal,
};

/** Deciding about a job, and how far it has come. */
export const resealCommands: readonly CommandRow[] = [
  {
    usage: 'approve <job>',
    summary: 'approves all requests of a job, after checking each of them',
    about:
      'Checks each as "recovery approve" does, shows what all of them would do, and asks once. To be run again goes on where it\n' +
      'ended; it skips what you have decided about. Where a rule takes replies after its delay, this hands in your intents first.',
    options: [{ flags: '--yes', about: 'do not ask (for scripts)' }],
    examples: [`reseal approve ${JOB} --as ~/.escrowd`],
    run: approveJob,
  },
  {
    usage: 'show <job>',
    summary: 'shows how far a job has come',
    examples: [`reseal show ${JOB}`],
    run: showJob,
  },
];

async function reseal(session: Session, given: CommandArguments): Promise<Result> {
  const which = whichKeys(given);
  const job = given.find('job') === undefined ? newJob(randomBytes) : jobOf(given.text('job'));
  const terms = { job, reason: given.words('reason'), validFor: formatDuration(given.duration('validFor')) };
  const { client } = await session.connect();
  const before = await session.busy('looking for the keys', () => requestsOf(client, job));
  const { keys, unknown } = await session.busy('looking for the keys', () => keysLeft(client, which, before));
  if (unknown.length > 0) {
    throw new UsageError(`there is no ${unknown.join(', ')} that you may see`, 'escrowctl key list');
  }
  if (keys.length === 0) {
    return {
      json: { job, requests: [], refused: [] },
      lines: [`No key is left to be asked for${before.length === 0 ? '' : ` in ${job}`}.`],
      next: before.length === 0 ? undefined : `escrowctl reseal show ${job}`,
    };
  }
  const count = `${keys.length} ${keys.length === 1 ? 'key' : 'keys'}`;
  if (!given.flag('yes'))
    await askFor(
      session,
      count,
      keys.map(({ owner }) => owner),
    );
  const leaving = 'leaving' in which ? which.leaving : undefined;
  const filed = await session.busy('filing requests', (progress) =>
    fileReseals(client, keys, { ...terms, leaving }, (done) => {
      progress(`filing requests ${bar(done, keys.length)}`);
    }),
  );
  return filedResult(job, filed);
}

function filedResult(job: string, { requests, refused }: Filed): Result {
  const asked = requests.reduce((sum, { keys }) => sum + keys.length, 0);
  const isStopped = refused.some(({ problem }) => problem.code === 'recoveries-too-many');
  return {
    json: {
      job,
      requests: requests.map(({ recovery, keys }) => ({ recovery, keys: keys.map(({ key }) => key) })),
      refused: refused.map(({ keys, problem }) => ({ keys, code: problem.code, detail: problem.detail })),
    },
    lines: [
      `Job ${job}: filed ${requests.length} ${requests.length === 1 ? 'request' : 'requests'} for ${asked} ${asked === 1 ? 'key' : 'keys'}.`,
      ...refused.flatMap(({ keys, problem }) => [
        '',
        `Not asked for (${problem.code}): ${problem.detail}`,
        ...keys.map((key) => `  ${key}`),
      ]),
    ],
    next: isStopped
      ? `when these are decided, go on with the rest: escrowctl reseal ... --job ${job}`
      : requests.length === 0
        ? undefined
        : `depositaries decide about all of them at once: escrowctl reseal approve ${job}`,
    ...(refused.length === 0 ? {} : { exit: 'refused' as const }),
  };
}

async function askFor({ terminal }: Session, count: string, owners: readonly string[]): Promise<void> {
  if (!terminal.isInteractive) {
    throw new UsageError('nobody is there to be asked', 'add --yes, after reading: escrowctl coverage');
  }
  const of = [...new Set(owners)];
  const whose = of.length > 5 ? `${of.slice(0, 5).join(', ')} and ${of.length - 5} more` : of.join(', ');
  terminal.writeError(`${printable(`To be sealed anew: ${count} of ${whose}.`)}\n`);
  const answer = await terminal.ask('Ask the depositaries? Type yes: ');
  if (answer.trim().toLowerCase() !== 'yes') throw new UsageError('not asked for; nothing was sent');
}

function whichKeys(given: CommandArguments): WhichKeys {
  const [leaving, otherKey, rule] = [given.find('leaving'), given.find('otherKey'), given.find('rule')];
  const keys = given.all;
  const olderKeks = given.flag('olderKeks') ? true : undefined;
  const ways = [leaving, otherKey, rule, olderKeks, keys.length > 0 ? keys : undefined].filter(
    (way) => way !== undefined,
  );
  if (ways.length !== 1) {
    throw new UsageError(
      'which keys?',
      'name them, or give --leaving ID, --other-key ID, --rule NAME or --older-keks: one of these',
    );
  }
  if (leaving !== undefined) return { leaving };
  if (otherKey !== undefined) return { otherKey };
  if (olderKeks !== undefined) return { olderKeks };
  return rule === undefined ? { keys } : { rule };
}

function jobOf(text: string): string {
  const job = parseId('JobId', text);
  if (job === undefined) throw new UsageError(`${text} is not the id of a job`, 'it begins with job_');
  return job;
}

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

/** How many keys are where. */
function tallyOf(requests: readonly RecoveryReply[]): readonly (readonly [string, string])[] {
  const counts = new Map<string, number>();
  for (const { status, keys } of requests) counts.set(status, (counts.get(status) ?? 0) + keys.length);
  return [...counts].map(([status, keys]) => [status, `${keys} ${keys === 1 ? 'key' : 'keys'}`]);
}
