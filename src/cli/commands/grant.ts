import { revokeProven } from '../../client/ends.js';
import { facts } from '../columns.js';
import type { CommandRow, Result } from '../command.js';
import { CLIENT_CERTIFICATE } from './use.js';
import type { CommandArguments } from '../commandArguments.js';
import { idOf } from '../ids.js';
import type { Session } from '../session.js';
import { listed } from '../pages.js';
import { when } from '../times.js';
import { grantFacts } from '../words.js';

export const grantCommands: readonly CommandRow[] = [
  {
    usage: 'list',
    summary: 'lists the grants that you may see, newest first',
    options: [{ flags: '--limit <n>', about: 'how many', default: '50' }, ...CLIENT_CERTIFICATE],
    examples: ['grant list --as ~/.escrowd'],
    run: list,
  },
  {
    usage: 'show <grant>',
    summary: 'shows a grant: what it allows, and how much of it is used',
    examples: ['grant show grant_0123456789abcdef0123456789abcdef'],
    run: show,
  },
  {
    usage: 'revoke <grant>',
    summary: 'ends a grant at once',
    about:
      'For the owner of the key, its depositaries, and administrators. The next use is refused. Says that it was done only when\n' +
      'the server has proven that it is in the log. Without that (exit 7) take it that the app can still use the key.',
    options: [{ flags: '--reason <text>', about: 'why; everyone concerned will read it', required: true }],
    examples: ['grant revoke grant_0123456789abcdef0123456789abcdef --reason "back at work"'],
    run: revoke,
  },
];

function list(session: Session, given: CommandArguments): Promise<Result> {
  return listed(session, given, {
    busy: 'listing grants',
    signsAll: false,
    page: (client, query) => client.grants(query),
    none: 'No grants.',
    columns: [
      ['GRANT', ({ grant }) => grant],
      ['STATUS', ({ status }) => status],
      ['APP', ({ scope }) => scope.app],
      ['OWNER', ({ owner }) => owner],
      ['USED', ({ used, scope }) => `${used}/${scope.maxUses}`],
      ['UNTIL', ({ expiresAt }) => when(expiresAt, session.now)],
    ],
  });
}

async function show(session: Session, given: CommandArguments): Promise<Result> {
  const { client } = await session.connect();
  const grant = await session.busy('asking for the grant', async () =>
    client.grant(await idOf(session, client, 'grant', given.argument(0))),
  );
  return {
    json: grant,
    lines: facts(grantFacts(grant, session.now)),
    ...(grant.status === 'active'
      ? { next: `to end it at once: escrowctl grant revoke ${grant.grant} --reason TEXT` }
      : {}),
  };
}

async function revoke(session: Session, given: CommandArguments): Promise<Result> {
  const { client, log } = await session.connect();
  const id = await idOf(session, client, 'grant', given.argument(0));
  const { result: grant, entry } = await session.busy('revoking the grant', () =>
    revokeProven(client, log, id, given.words('reason')),
  );
  return {
    json: { result: grant, entry },
    lines: [
      `Revoked ${grant.grant} (log entry ${entry}). The app ${grant.scope.app} can no longer use the key.`,
      ...facts([['used', `${grant.used} of ${grant.scope.maxUses}`]]),
    ],
  };
}
