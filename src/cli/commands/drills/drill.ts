import {
  type DrillReport,
  type DrilledShare,
  type WhichShares,
  drillAll,
} from '../../../client/depositary/drillJob.js';
import { type DrillResult, DRILL_RESULTS } from '../../../escrow/records/drills/drilling.js';
import { printable } from '../../../escrow/records/freeText.js';
import { table } from '../../columns.js';
import type { CommandArguments } from '../../commandArguments.js';
import type { CommandRow, Result } from '../../command.js';
import { UsageError } from '../../failures.js';
import type { Session } from '../../session.js';
import { bar } from '../../spinner.js';

/** Opens a depositary's shares, to show that they can. */
export const drillCommand: CommandRow = {
  usage: 'drill [keys...]',
  summary: 'opens your shares with your own key, and has the log say what came of it',
  about:
    'Of each key: your share is opened, and with what is in it the link; both stay here. What is sent is your signed word, and a\n' +
    'hash that only somebody who opened them can know: nothing that opens a key. The server checks the rest of the deposit and its\n' +
    'own key regarding you. Without KEYS: what is due. Exit 1 when a key fails, with its name and the reason.',
  options: [
    { flags: '--all', about: 'all keys that you have a share of' },
    { flags: '--due', about: 'those that were not drilled for too long, never, or without success' },
  ],
  examples: ['drill --as ~/.escrowd', 'drill --all --json', 'drill key_0123456789abcdef0123456789abcdef'],
  run: drill,
};

async function drill(session: Session, given: CommandArguments): Promise<Result> {
  const which = whichShares(given);
  const { identity, client, log } = await session.connect();
  const depositaryKey = await identity.depositaryOpener();
  const trust = {
    ...{ identityKey: identity.pins.identityKey, depositary: identity.id },
    ...{ log, generations: identity.generations },
  };
  const report = await session.busy('opening shares', (progress) =>
    drillAll(
      {
        ...{ client, trust, depositaryKey, signer: identity.signer, now: () => session.now },
        progress: (shares, keys) => {
          progress(keys === undefined ? `${shares} shares opened` : `opening shares ${bar(shares, keys)}`);
        },
      },
      which,
    ),
  );
  return resultOf(report, which);
}

function whichShares(given: CommandArguments): WhichShares {
  const keys = given.all;
  const named = [keys.length > 0, given.flag('all'), given.flag('due')].filter((one) => one).length;
  if (named > 1)
    throw new UsageError('KEYS, --all and --due are three answers to one question', 'choose one');
  if (keys.length > 0) return { keys };
  return given.flag('all') ? 'all' : 'due';
}

function resultOf({ shares, refused, unlisted, notShown }: DrillReport, which: WhichShares): Result {
  const failed = shares.filter(({ result }) => result !== 'opened');
  const isBad = failed.length > 0 || refused.length > 0 || unlisted > 0 || notShown.length > 0;
  const unproven = shares.filter(({ result, isProven }) => result === 'opened' && !isProven).length;
  return {
    json: {
      shares,
      failed: failed.map(({ key, purpose, result }) => ({ key, purpose, result })),
      refused: refused.map(({ keys, problem }) => ({ keys, code: problem.code, detail: problem.detail })),
      ...{ unlisted, notShown },
    },
    lines: [
      headline(shares, failed, which),
      ...(failed.length === 0
        ? []
        : [
            '',
            ...table(
              ['KEY', 'PURPOSE', 'OWNER', 'WHY'],
              failed.map(({ key, purpose, owner, result }) => [key, purpose, owner, reasonOf(result)]),
            ),
          ]),
      ...(unproven === 0
        ? []
        : [
            '',
            `Of ${unproven} of them the log has your word alone: they were deposited before drills could be proven.`,
          ]),
      ...refused.flatMap(({ keys, problem }) => [
        '',
        `Not in the log (${problem.code}): ${problem.detail}`,
        ...keys.map((key) => `  ${key}`),
      ]),
      ...(notShown.length === 0
        ? []
        : ['', 'Of these keys no share of yours is shown:', ...notShown.map((key) => `  ${printable(key)}`)]),
      ...(unlisted === 0
        ? []
        : [
            '',
            `Of ${unlisted} ${unlisted === 1 ? 'key' : 'keys'} more the log has shares of yours, and the database has lost the records.`,
          ]),
    ],
    next: isBad
      ? 'tell the security team: a key that fails is sealed anew while others still open it'
      : undefined,
    ...(isBad ? { exit: 'unexpected' as const } : {}),
  };
}

function headline(
  shares: readonly DrilledShare[],
  failed: readonly DrilledShare[],
  which: WhichShares,
): string {
  if (shares.length === 0 && typeof which === 'object') return 'Nothing was opened.';
  if (shares.length === 0) return which === 'due' ? 'No drill is due.' : 'You are shown no share of a key.';
  const opened = shares.length - failed.length;
  return `${opened} of ${shares.length} ${shares.length === 1 ? 'share' : 'shares'} opened, with all that belongs to them; no secret was sent.`;
}

const REASONS: Readonly<Record<string, string | undefined>> = {
  ...(DRILL_RESULTS satisfies Record<DrillResult, string>),
  'used-up': 'it was drilled as often as its deposit allows: it has to be sealed anew',
  'not-recorded': 'the server did not say that it is in the log',
};

function reasonOf(result: string): string {
  const reason = REASONS[result];
  return reason === undefined ? result : `${result}: ${reason}`;
}
