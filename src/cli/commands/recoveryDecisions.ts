import type { BelievedRecovery } from '../../client/depositary/believedRecovery.js';
import { approve, deny, intend } from '../../client/depositary/depositary.js';
import type { EscrowClient } from '../../client/escrowClient.js';
import { cancelProven, denyProven, vetoProven } from '../../client/ends.js';
import { believeDue, hasIntended } from '../../client/depositary/intents.js';
import type { LogView } from '../../client/log/logView.js';
import type { IntentOrder } from '../../api/orders.js';
import type { RecoveryReply } from '../../api/replies.js';
import { facts } from '../columns.js';
import type { CommandRow, Result } from '../command.js';
import { type Checked, believeOpen, confirmed } from '../believing.js';
import type { CommandArguments } from '../commandArguments.js';
import { idOf } from '../ids.js';
import type { Session } from '../session.js';
import { decisionLines } from '../decision.js';
import { stopCommand } from './recoveryStop.js';
import { when } from '../times.js';
import { continuesInWords, grantFacts, nextForRecovery, waitsForInWords } from '../words.js';

const REASON = {
  flags: '--reason <text>',
  about: 'why; everyone concerned will read it',
  required: true,
} as const;

/** Deciding about a request, and ending it. */
export const decisionCommands: readonly CommandRow[] = [
  {
    usage: 'approve <id>',
    summary: 'approves a request, after checking that the server tells the truth about it',
    about:
      "Checks the signature of the token's identity key, the entry in the log, and that the log is the one you saw\n" +
      'before; shows the whole request and asks; then re-encrypts your share of each of its keys for this one request and\n' +
      'signs. You approve all keys of the request, or none. Where a rule takes replies after its delay, this hands in your\n' +
      'intent first, and nothing of your share; run it again when the delay is over, and it hands in the approval.',
    options: [
      { flags: '--yes', about: 'do not ask (for scripts)' },
      {
        flags: '--holds <duration>',
        about: 'how long your approval counts (default: as long as the request lets it)',
      },
    ],
    examples: [
      'recovery approve rec_0123456789abcdef0123456789abcdef --as ~/.escrowd',
      'recovery approve rec_0123456789abcdef0123456789abcdef --holds 2h',
    ],
    run: approveCommand,
  },
  {
    usage: 'deny <id>',
    summary: 'denies a request, with a signed reason',
    options: [REASON],
    examples: ['recovery deny rec_0123456789abcdef0123456789abcdef --reason "Olga is at her desk"'],
    about:
      'Says that it was done only when the server has proven that the denial is in the log. Without that (exit 7) take it as not\n' +
      'denied: call the other depositaries, so that none of them approves without knowing.',
    run: denyCommand,
  },
  {
    usage: 'veto <id>',
    summary: 'stops a request for your own keys, where the rule of one of them allows that',
    options: [REASON],
    examples: ['recovery veto rec_0123456789abcdef0123456789abcdef --reason "I did not ask for this"'],
    about:
      'Says that it was done only when the server has proven that the veto is in the log. Without that (exit 7) take it as not\n' +
      'vetoed: call the depositaries, so that none of them approves.',
    run: (session, given) => end(session, given, 'Vetoed', vetoProven),
  },
  {
    usage: 'cancel <id>',
    summary: 'takes back a request of your own',
    options: [REASON],
    examples: ['recovery cancel rec_0123456789abcdef0123456789abcdef --reason "no longer needed"'],
    about:
      'Says that it was done only when the server has proven that it is in the log. Without that (exit 7) take it as not\n' +
      'cancelled: call the depositaries, so that none of them approves.',
    run: (session, given) => end(session, given, 'Cancelled', cancelProven),
  },
  stopCommand,
  {
    usage: 'activate <id>',
    summary: 'brings approved keys back into the token, each as a grant for the app',
    about:
      'The server does so by itself when the last approval arrives; this is for when that was cut short.',
    examples: ['recovery activate rec_0123456789abcdef0123456789abcdef'],
    run: activate,
  },
];

async function approveCommand(session: Session, given: CommandArguments): Promise<Result> {
  const { identity, client, believed, log } = await checked(session, given);
  // before the question: without the key the answer would be for nothing
  const depositaryKey = await identity.depositaryOpener();
  const holdsMs = given.find('holds') === undefined ? undefined : given.duration('holds');
  const isFirst = believed.replies === 'afterDelay' && !hasIntended(believed, identity.id);
  // nor where it is too early: that is told at once
  const due = isFirst ? undefined : await believeDue(believed, identity.signer, { log, now: session.now });
  if (!given.flag('yes')) await confirm(session, believed, log, isFirst ? 'Intend to approve?' : 'Approve?');
  if (due === undefined) {
    const intent = await intend(believed, identity.signer, depositaryKey, session.now, holdsMs);
    return intended(session, client, believed.shown.recovery, intent);
  }
  const approval = await approve(due, identity.signer, depositaryKey, session.now, holdsMs);
  const { result, entry } = await session.busy('handing in the approval', () =>
    client.sendApproval(believed.shown.recovery, approval),
  );
  return {
    json: { result, entry },
    lines: [
      `Approved ${result.recovery} as ${identity.id} (log entry ${entry}). ${consequence(result)}`,
      ...facts([
        ['status', result.status],
        ['approved by', result.approvedBy.join(', ')],
        ...result.keys.map(({ key, grant }) => ['grant', grant && `${grant.grant}, for ${key}`] as const),
      ]),
    ],
    next: result.status === 'pending' ? othersDecide(result) : nextForRecovery(result),
  };
}

function othersDecide(recovery: RecoveryReply): string {
  return `${waitsForInWords(recovery) ?? 'others'} must approve: escrowctl recovery approve ${recovery.recovery}`;
}

async function intended(
  session: Session,
  client: EscrowClient,
  recovery: string,
  intent: IntentOrder,
): Promise<Result> {
  const { result, entry } = await session.busy('handing in the intent', () =>
    client.sendIntent(recovery, intent),
  );
  const { repliesFrom, intendedBy = [] } = result;
  const then = `escrowctl recovery approve ${recovery}`;
  return {
    json: { result, entry },
    lines: [
      `Said that ${client.caller} intends to approve ${recovery} (log entry ${entry}). Nothing of your share was sent.`,
      ...facts([
        ['status', result.status],
        ['intend to approve', intendedBy.join(', ')],
        ['approve from', repliesFrom === undefined ? undefined : when(repliesFrom, session.now)],
      ]),
    ],
    next:
      repliesFrom === undefined
        ? `others must say so too: the delay begins then; when it is over: ${then}`
        : `when the delay is over: ${then}`,
  };
}

async function denyCommand(session: Session, given: CommandArguments): Promise<Result> {
  const { identity, client, believed, log } = await checked(session, given);
  const denial = await deny(believed, identity.signer, given.words('reason'), session.now);
  const { result, entry } = await session.busy('handing in the denial', () =>
    denyProven(client, log, believed.shown.recovery, denial),
  );
  return {
    json: { result, entry },
    lines: [
      `Denied ${result.recovery} as ${identity.id} (log entry ${entry}).`,
      ...facts([['status', result.status]]),
    ],
    next:
      result.status === 'denied' ? 'no quorum is left that could agree; the request has ended' : undefined,
  };
}

async function activate(session: Session, given: CommandArguments): Promise<Result> {
  const { client } = await session.connect();
  const id = await idOf(session, client, 'rec', given.argument(0));
  const { result, entry } = await session.busy('bringing the keys back', () => client.activate(id));
  const { grants } = result;
  const [first] = grants;
  return {
    json: { result, entry },
    lines: [
      `The app ${first?.scope.app ?? ''} may use the ${grants.length === 1 ? 'key' : `${grants.length} keys`} now (log entry ${entry}).`,
      ...facts(grants.flatMap((grant) => grantFacts(grant, session.now))),
    ],
    next: `escrowctl ${first?.scope.operations[0] ?? 'sign'} FILE --grant ${first?.grant ?? 'GRANT'} --mechanism ${first?.scope.mechanisms[0] ?? 'NAME'}`,
  };
}

async function end(
  session: Session,
  given: CommandArguments,
  done: string,
  act: (client: EscrowClient, log: LogView, id: string, reason: string) => ReturnType<EscrowClient['veto']>,
): Promise<Result> {
  const { client, log } = await session.connect();
  const id = await idOf(session, client, 'rec', given.argument(0));
  const { result, entry } = await session.busy('ending the request', () =>
    act(client, log, id, given.words('reason')),
  );
  return {
    json: { result, entry },
    lines: [`${done} ${result.recovery} (log entry ${entry}).`, ...facts([['status', result.status]])],
  };
}

/** The request that is named, believed, and by whom. */
async function checked(session: Session, given: CommandArguments): Promise<Checked> {
  const connected = await session.connect();
  const id = await idOf(session, connected.client, 'rec', given.argument(0));
  const believed = await session.busy('checking the request', () => believeOpen(session, connected, id));
  return { ...connected, believed };
}

async function confirm(
  session: Session,
  believed: BelievedRecovery,
  log: LogView,
  question: string,
): Promise<void> {
  await confirmed(session, decisionLines(believed, continuesInWords(log), session.now), question);
}

function consequence({ status, purpose, keys, scope, recipient }: RecoveryReply): string {
  const isOne = keys.length === 1;
  switch (status) {
    case 'pending':
      return 'Others must approve too.';
    case 'approved':
      if (purpose === 'reseal')
        return 'The quorum is complete; the server seals anew when the delay is over.';
      return purpose === 'release'
        ? `The quorum is complete; ${recipient ?? 'the recipient'} can fetch the ${isOne ? 'key' : 'keys'} once the delay is over.`
        : `The quorum is complete; the ${isOne ? 'key is' : 'keys are'} not active yet.`;
    case 'active':
      return `The quorum is complete: the app ${scope?.app ?? ''} holds ${isOne ? (keys[0]?.grant?.grant ?? 'a grant') : `${keys.length} grants`}.`;
    case 'resealed':
      return `The quorum is complete: the ${isOne ? 'key is' : 'keys are'} sealed anew.`;
    case 'released':
    case 'exhausted':
    case 'revoked':
    case 'denied':
    case 'vetoed':
    case 'cancelled':
    case 'expired':
    case 'failed':
      return `The request has ended: ${status}.`;
    default:
      return `The server says that the request is ${status}.`;
  }
}
