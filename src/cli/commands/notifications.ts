import { facts } from '../columns.js';
import type { CommandRow, Result } from '../command.js';
import { UsageError } from '../failures.js';
import type { CommandArguments } from '../commandArguments.js';
import { collect, listed } from '../pages.js';
import type { Session } from '../session.js';
import { localTime } from '../times.js';

/** The server takes so many at once. */
const AT_ONCE = 100;

/** What people could not be told by webhook, mail or file. */
export const notificationCommands: readonly CommandRow[] = [
  {
    usage: 'list',
    summary: 'lists the notices that were given up, newest first',
    options: [
      { flags: '--sink <name>', about: 'of this sink alone, such as webhook:siem' },
      { flags: '--limit <n>', about: 'how many', default: '50' },
    ],
    examples: ['notifications list --as ~/.escrowd', 'notifications list --sink mail --json'],
    run: list,
  },
  {
    usage: 'redeliver',
    summary: 'sends again what was given up, under the same ids',
    about:
      'For administrators, and in the log. The sink delivers them when it comes to this place of the log, with as many\n' +
      'tries as it had before; what it does not take then is given up again.',
    options: [
      { flags: '--sink <name>', about: 'of which sink', required: true },
      { flags: '--notice <id>', about: 'which one; give as many as you like', many: true },
      { flags: '--all', about: 'all that this sink has given up' },
    ],
    examples: [
      'notifications redeliver --sink webhook:siem --all',
      'notifications redeliver --sink mail --notice ntc_0123456789abcdef0123456789abcdef',
    ],
    run: redeliver,
  },
];

function list(session: Session, given: CommandArguments): Promise<Result> {
  const sink = given.find('sink');
  return listed(session, given, {
    busy: 'asking what was given up',
    page: (client, query) => client.givenUpNotices({ ...query, ...(sink === undefined ? {} : { sink }) }),
    none: 'Nothing was given up.',
    columns: [
      ['NOTICE', ({ notice }) => notice],
      ['SINK', (notice) => notice.sink],
      ['TO', ({ to }) => to],
      ['KIND', ({ kind }) => kind],
      ['ENTRY', ({ entry }) => String(entry)],
      ['GIVEN UP', ({ givenUpAt }) => localTime(new Date(givenUpAt))],
      ['WHY', ({ fault }) => fault],
    ],
    next: ([first]) => first && `escrowctl notifications redeliver --sink ${first.sink} --all`,
  });
}

async function redeliver(session: Session, given: CommandArguments): Promise<Result> {
  const sink = given.text('sink');
  const named = given.list('notice');
  if (given.flag('all') === named.length > 0)
    throw new UsageError('it is not said which notices', 'give either --all, or --notice as often as needed');
  const { client } = await session.connect();
  const notices =
    named.length > 0
      ? [...new Set(named)]
      : await session.busy('asking what was given up', async () =>
          // what came first goes first
          (await collect((query) => client.givenUpNotices({ ...query, sink }), Infinity)).items
            .map(({ notice }) => notice)
            .reverse(),
        );
  const entries: number[] = [];
  for (let from = 0; from < notices.length; from += AT_ONCE) {
    const some = notices.slice(from, from + AT_ONCE);
    const { entry } = await session.busy('ordering them again', () =>
      client.redeliverNotices({ sink, notices: some }),
    );
    entries.push(entry);
  }
  return {
    json: { sink, notices, entries },
    lines:
      notices.length === 0
        ? [`${sink} has given nothing up.`]
        : [
            `${notices.length} ${notices.length === 1 ? 'notice goes' : 'notices go'} to ${sink} again.`,
            ...facts([['log entries', entries.join(', ')]]),
          ],
    ...(notices.length === 0
      ? {}
      : { next: `to see what is given up again: escrowctl notifications list --sink ${sink}` }),
  };
}
