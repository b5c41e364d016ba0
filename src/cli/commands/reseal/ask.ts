import { randomBytes } from 'node:crypto';

import {
  type Filed,
  type Left,
  type WhichKeys,
  fileReseals,
  keysLeft,
  newJob,
  requestsOf,
} from '../../../client/resealing/resealJob.js';
import type { RecoveryReply } from '../../../api/replies.js';
import { printable } from '../../../escrow/records/freeText.js';
import { formatDuration } from '../../../policy/durations.js';
import type { CommandRow, Result } from '../../command.js';
import type { CommandArguments } from '../../commandArguments.js';
import { UsageError } from '../../failures.js';
import type { Session } from '../../session.js';
import { bar } from '../../spinner.js';
import { JOB, jobOf } from './job.js';

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
    'on where it ended; a key by which a request failed is asked for alone then. While the server does not say which keys are meant, as\n' +
    'when its token is out, nothing is asked for, and the exit is 6.',
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

async function reseal(session: Session, given: CommandArguments): Promise<Result> {
  const which = whichKeys(given);
  const job = given.find('job') === undefined ? newJob(randomBytes) : jobOf(given.text('job'));
  const terms = { job, reason: given.words('reason'), validFor: formatDuration(given.duration('validFor')) };
  const { client } = await session.connect();
  const before = await session.busy('looking for the keys', () => requestsOf(client, job));
  const left = await session.busy('looking for the keys', () => keysLeft(client, which, before));
  const { keys, unknown } = left;
  if (unknown.length > 0) {
    throw new UsageError(`there is no ${unknown.join(', ')} that you may see`, 'escrowctl key list');
  }
  if (left.unsaid > 0) return unknownResult(job, left);
  if (keys.length === 0) return nothingLeft(job, before, left);
  if (!given.flag('yes'))
    await askFor(
      session,
      keysInWords(keys.length),
      keys.map(({ owner }) => owner),
    );
  const leaving = 'leaving' in which ? which.leaving : undefined;
  const filed = await session.busy('filing requests', (progress) =>
    fileReseals(
      client,
      keys,
      { ...terms, leaving },
      (done) => {
        progress(`filing requests ${bar(done, keys.length)}`);
      },
      left.apart,
    ),
  );
  return filedResult(job, filed, left);
}

/** Who takes this for none goes on to destroy what keys lie under. */
function unknownResult(job: string, { unsaid }: Left): Result {
  return {
    json: { job, requests: [], refused: [], unsaid },
    lines: [
      `Nothing was asked for: of ${keysInWords(unsaid)} the server does not say whether they are meant, and so not whether any is left. Its token may be out, or it is older than this.`,
    ],
    next: 'escrowctl status; then again',
    exit: 'unavailable',
  };
}

function nothingLeft(job: string, before: readonly RecoveryReply[], left: Left): Result {
  const open = before.filter(({ status }) => status === 'pending' || status === 'approved').length;
  return {
    json: { job, requests: [], refused: [] },
    lines: [
      `No key that you may see is left to be asked for${before.length === 0 ? '' : ` in ${job}`}.`,
      ...(open === 0
        ? []
        : [
            `${open === 1 ? '1 request of it is' : `${open} requests of it are`} open: until these are carried out, keys are sealed as they were.`,
          ]),
      ...stuckLines(left),
    ],
    next: before.length === 0 ? undefined : `escrowctl reseal show ${job}`,
  };
}

function stuckLines({ stuck }: Left): readonly string[] {
  if (stuck === 0) return [];
  return [
    `${keysInWords(stuck)} ${stuck === 1 ? 'lies' : 'lie'} under an older key-encryption key and cannot be rotated: without that key ${stuck === 1 ? 'it is' : 'they are'} lost. See escrowctl coverage.`,
  ];
}

function keysInWords(count: number): string {
  return `${count} ${count === 1 ? 'key' : 'keys'}`;
}

function filedResult(job: string, { requests, refused }: Filed, left: Left): Result {
  const asked = requests.reduce((sum, { keys }) => sum + keys.length, 0);
  const isStopped = refused.some(({ problem }) => problem.code === 'recoveries-too-many');
  return {
    json: {
      job,
      requests: requests.map(({ recovery, keys }) => ({ recovery, keys: keys.map(({ key }) => key) })),
      refused: refused.map(({ keys, problem }) => ({ keys, code: problem.code, detail: problem.detail })),
    },
    lines: [
      `Job ${job}: filed ${requests.length} ${requests.length === 1 ? 'request' : 'requests'} for ${keysInWords(asked)}.`,
      ...refused.flatMap(({ keys, problem }) => [
        '',
        `Not asked for (${problem.code}): ${problem.detail}`,
        ...keys.map((key) => `  ${key}`),
      ]),
      ...(left.apart.size === 0
        ? []
        : [
            '',
            'A request failed by these before; each is asked for alone:',
            ...[...left.apart].map((key) => `  ${key}`),
          ]),
      ...(left.stuck === 0 ? [] : ['', ...stuckLines(left)]),
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
