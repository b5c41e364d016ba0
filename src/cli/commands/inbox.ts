import { quoted } from '../../escrow/records/freeText.js';
import { ServerProblem } from '../../client/errors.js';
import type { EscrowClient } from '../../client/escrowClient.js';
import type { GrantReply, RecoveryReply } from '../../api/replies.js';
import { facts } from '../columns.js';
import type { CommandRow, Result } from '../command.js';
import { collect } from '../pages.js';
import type { CommandArguments } from '../commandArguments.js';
import type { Session } from '../session.js';
import { when } from '../times.js';
import { askedInWords, intendedInWords, keysFacts } from '../words.js';

/** What waits for the person who asks. */
export const inboxCommand: CommandRow = {
  usage: 'inbox',
  summary:
    'shows what waits for you: requests to decide as a depositary, drills, requests for your own keys, and who uses them',
  about:
    'Who asks, for what, until when, and what you can do. What is shown is not checked yet: approving checks it.',
  options: [{ flags: '--limit <n>', about: 'how many at most', default: '50' }],
  examples: ['inbox --as ~/.escrowd'],
  run: inbox,
};

/** Why a request is in somebody's inbox. */
type Part = 'decide' | 'approve' | 'own key';

async function inbox(session: Session, given: CommandArguments): Promise<Result> {
  const limit = given.count('limit');
  const { identity, client } = await session.connect();
  const { items, hasMore } = await session.busy('looking for what waits for you', () =>
    collect(
      (query) => client.recoveries(query),
      limit,
      (recovery) => partOf(recovery, identity.id, session.now) !== undefined,
    ),
  );
  const waiting = items.flatMap((recovery) => {
    const part = partOf(recovery, identity.id, session.now);
    return part === undefined ? [] : [{ part, recovery }];
  });
  const due = await session.busy('looking for drills that are due', () => drillsDue(client));
  const running = await session.busy('looking for who uses your keys', () =>
    collect(
      (query) => client.grants(query),
      limit,
      ({ owner, status }) => owner === identity.id && status === 'active',
    ),
  );
  const lines = [
    ...waiting.flatMap(({ part, recovery }) => [
      `${recovery.recovery}  ${TITLES[part]}`,
      ...facts(factsOf(recovery, part, session.now)),
      '',
    ]),
    ...running.items.flatMap((grant) => [
      `${grant.grant}  lets an app use a key of yours`,
      ...facts(runningFacts(grant, session.now)),
      '',
    ]),
    ...(hasMore || running.hasMore ? [`There are more: --limit ${limit * 2}`] : []),
    ...drillLines(due),
  ];
  return {
    json: { items: waiting, hasMore, drillsDue: due, grants: running.items },
    lines:
      lines.length === 0
        ? [`Nothing waits for ${identity.id}.`]
        : waiting.length + running.items.length === 0
          ? lines
          : ['The server says so; nothing of it is checked before you approve or deny.', '', ...lines],
    next: nextOf(waiting, due),
  };
}

function nextOf(
  waiting: readonly { readonly part: Part; readonly recovery: RecoveryReply }[],
  due: number,
): string | undefined {
  const first = waiting.find(({ part }) => part !== 'own key');
  if (first !== undefined) return nextFor(first.recovery);
  if (due > 0) return 'escrowctl drill: opens your shares, and sends none';
  const own = waiting.find(({ recovery: { ownerMayVeto } }) => ownerMayVeto === true);
  return own === undefined ? undefined : `unless it is as you want it: ${vetoOf(own.recovery)}`;
}

const vetoOf = ({ recovery }: RecoveryReply): string => `escrowctl recovery veto ${recovery} --reason TEXT`;

/** Of how many keys a share of the caller is to be drilled; 0 where they have none, or the server knows no drills. */
async function drillsDue(client: EscrowClient): Promise<number> {
  try {
    return (await client.drills({ limit: 1 })).held?.due ?? 0;
  } catch (error) {
    // a server of before
    if (error instanceof ServerProblem && error.code === 'route-unknown') return 0;
    throw error;
  }
}

function drillLines(due: number): readonly string[] {
  return due === 0
    ? []
    : [`Your shares of ${due} ${due === 1 ? 'key are' : 'keys are'} to be drilled: escrowctl drill`];
}

function nextFor({ recovery, reseal }: RecoveryReply): string {
  return reseal === undefined
    ? `escrowctl recovery approve ${recovery}, or deny --reason TEXT`
    : `all requests of the job at once: escrowctl reseal approve ${reseal.job}; or escrowctl recovery deny ${recovery} --reason TEXT`;
}

const TITLES = {
  decide: 'waits for your decision',
  approve: 'waits for your approval: the delay that your intent was part of is over',
  'own key': 'is about keys of yours',
} as const satisfies Record<Part, string>;

/** What this person has to do with an open request; undefined when it waits for others. */
function partOf(recovery: RecoveryReply, id: string, now: Date): Part | undefined {
  const { status, owner, keys, approvedBy, deniedBy } = recovery;
  if (status !== 'pending' && status !== 'approved') return undefined;
  if (owner === id) return 'own key';
  const hasDecided = approvedBy.includes(id) || deniedBy.some(({ depositary }) => depositary === id);
  const isAsked =
    status === 'pending' && keys.some(({ quorums }) => quorums.some((members) => members.includes(id)));
  if (!isAsked || hasDecided) return undefined;
  const { intendedBy = [], repliesFrom } = recovery;
  if (!intendedBy.includes(id)) return 'decide';
  // nothing waits for them while the delay runs, or has not begun
  return repliesFrom !== undefined && now >= new Date(repliesFrom) ? 'approve' : undefined;
}

/** A grant on a key of the reader's. */
function runningFacts(
  { key, scope, used, expiresAt, grant }: GrantReply,
  now: Date,
): readonly (readonly [string, string])[] {
  return [
    ['app', scope.app],
    ['may', scope.operations.join(' and ')],
    ['key', key],
    ['used', `${used} of ${scope.maxUses}`],
    ['until', when(expiresAt, now)],
    ['you may', `end it at once: escrowctl grant revoke ${grant} --reason TEXT`],
  ];
}

/** What an owner can do about a request; nothing is said where the server does not say it. */
function ownersMeans(recovery: RecoveryReply): string | undefined {
  const { ownerMayVeto, purpose } = recovery;
  if (ownerMayVeto === undefined) return undefined;
  if (ownerMayVeto) return `veto it until it is carried out: ${vetoOf(recovery)}`;
  return purpose === 'operate'
    ? 'not veto it by the rules of your keys; end the grant that comes of it, by escrowctl grant revoke'
    : 'not veto it by the rules of your keys; tell who may approve it if it is not right';
}

function factsOf(
  recovery: RecoveryReply,
  part: Part,
  now: Date,
): readonly (readonly [string, string | undefined])[] {
  const { approvedBy } = recovery;
  return [
    ['asked by', recovery.requester],
    ['asks for', askedInWords(recovery)],
    ['keys of', recovery.owner],
    // a job may be of thousands
    ...(recovery.reseal === undefined
      ? keysFacts(recovery)
      : [
          ['job', recovery.reseal.job] as const,
          ['keys', `${recovery.keys.length}: escrowctl recovery show ${recovery.recovery}`] as const,
        ]),
    ['until', when(recovery.expiresAt, now)],
    ['intend to approve', intendedInWords(recovery)],
    ['approvals from', recovery.repliesFrom === undefined ? undefined : when(recovery.repliesFrom, now)],
    ['approved by', approvedBy.length === 0 ? 'nobody yet' : approvedBy.join(', ')],
    ['reason', quoted(recovery.reason)],
    ['you may', part === 'own key' ? ownersMeans(recovery) : undefined],
  ];
}
