import { NotBelieved } from '../../client/errors.js';
import { formatDuration } from '../../policy/durations.js';
import { type Mechanism, MECHANISM_NAMES, MECHANISMS } from '../../escrow/records/mechanisms.js';
import { MAX_RECOVERY_KEYS } from '../../escrow/records/recovery.js';
import type { RecoveryOrder, ScopeOrder } from '../../api/orders.js';
import { cellOf, facts } from '../columns.js';
import type { CommandRow, Result } from '../command.js';
import { UsageError } from '../failures.js';
import type { CommandArguments } from '../commandArguments.js';
import { parseDurationArgument } from '../durationArgument.js';
import { listed } from '../pages.js';
import { idOf } from '../ids.js';
import type { Session } from '../session.js';
import { distance } from '../times.js';
import { nextForRecovery, recoveryFacts, waitsForInWords } from '../words.js';
import { type OrderTerms, keysOf } from './keysToRecover.js';

const PURPOSES = ['operate', 'release'] as const;
const USES = ['sign', 'decrypt'] as const;

/** Asking for a key to be brought back, and seeing what came of it. */
export const recoveryCommands: readonly CommandRow[] = [
  {
    usage: 'request [keys...]',
    summary: 'asks the depositaries to bring keys of one owner back',
    about:
      'operate: an app may use each key inside the token, within the scope given here.\n' +
      'release: a depositary receives the private keys themselves, where the rules allow it.\n' +
      `One request is for up to ${MAX_RECOVERY_KEYS} keys: depositaries approve all of them or none.`,
    options: [
      {
        flags: '--all-of <owner>',
        about:
          'in place of keys: all of this owner that you may see and that can be asked for so; shows them and asks',
      },
      { flags: '--yes', about: 'with --all-of: do not ask (for scripts)' },
      { flags: '--purpose <purpose>', about: 'what for', choices: PURPOSES, default: 'operate' },
      {
        flags: '--reason <text>',
        about: 'why; depositaries, owner and auditor will read it',
        required: true,
      },
      { flags: '--valid-for <duration>', about: 'how long the request can be approved', default: '1d' },
      { flags: '--app <id>', about: 'operate: which app' },
      {
        flags: '--operation <use>',
        about: 'operate: what it may do (default: what the mechanism does)',
        many: true,
        choices: USES,
      },
      {
        flags: '--mechanism <name>',
        about: 'operate: how, by JOSE name',
        many: true,
        choices: MECHANISM_NAMES,
      },
      { flags: '--uses <n>', about: 'operate: how many times', default: '1' },
      { flags: '--for <duration>', about: 'operate: for how long, from activation', default: '1h' },
      {
        flags: '--rate <n/duration>',
        about: 'operate: how fast at most, such as 10/1m (default: as the rule says)',
      },
      { flags: '--from <instant>', about: 'operate: not before, such as 2026-01-31T08:00:00Z' },
      { flags: '--until <instant>', about: 'operate: not after, however long --for is' },
      { flags: '--digest', about: 'operate: the app may also send digests instead of messages' },
      { flags: '--recipient <id>', about: 'release: which depositary receives it (default: you)' },
    ],
    examples: [
      'recovery request KEY --app mailer --mechanism ES256 --uses 3 --for 1h --reason "Olga is ill; letters must go out"',
      'recovery request KEY --purpose release --valid-for 7d --reason "the archive must be read"',
      'recovery request KEY1 KEY2 --purpose release --reason "both archives must be read"',
      'recovery request --all-of olga --purpose release --valid-for 7d --reason "Olga has left"',
    ],
    run: request,
  },
  {
    usage: 'list',
    summary: 'lists the requests that you have a part in, newest first',
    options: [
      { flags: '--limit <n>', about: 'how many', default: '50' },
      {
        flags: '--open',
        about: 'only those that have not ended: to be decided, to be carried out, or in use',
      },
    ],
    examples: ['recovery list --as ~/.escrowd --open'],
    run: list,
  },
  {
    usage: 'show <id>',
    summary: 'shows a request: what it asks for, and who has decided',
    examples: ['recovery show rec_0123456789abcdef0123456789abcdef'],
    run: show,
  },
];

async function request(session: Session, given: CommandArguments): Promise<Result> {
  const terms = termsOf(given);
  const { client } = await session.connect();
  const keys = await keysOf(session, given, client, terms);
  const order: RecoveryOrder = { ...terms, keys };
  const { result: recovery, entry } = await session.busy('filing the request', () =>
    client.requestRecovery(order),
  );
  if ([...keys].sort().join() !== recovery.keys.map(({ key }) => key).join()) {
    throw new NotBelieved(
      'recovery-mismatch',
      `the server filed ${recovery.recovery} for other keys than were asked for`,
    );
  }
  return {
    json: { result: recovery, entry },
    lines: [
      `Filed ${recovery.recovery} (log entry ${entry}).`,
      ...facts(recoveryFacts(recovery, session.now)),
    ],
    next: nextForRecovery(recovery),
  };
}

/** What is asked, whatever the keys. */
function termsOf(given: CommandArguments): OrderTerms {
  const common = {
    reason: given.words('reason'),
    validFor: formatDuration(given.duration('validFor')),
  };
  switch (given.oneOf('purpose', PURPOSES) ?? 'operate') {
    case 'operate':
      return { ...common, purpose: 'operate', scope: scopeOf(given) };
    case 'release': {
      const recipient = given.find('recipient');
      return { ...common, purpose: 'release', ...(recipient === undefined ? {} : { recipient }) };
    }
  }
}

function scopeOf(given: CommandArguments): ScopeOrder {
  const app = given.find('app');
  if (app === undefined) throw new UsageError('--app is missing: which app may use the key?');
  const mechanisms = MECHANISM_NAMES.filter((name) => given.list('mechanism').includes(name));
  if (mechanisms.length === 0) {
    throw new UsageError(
      '--mechanism is missing: how may the app use the key?',
      `one of ${MECHANISM_NAMES.join(', ')}`,
    );
  }
  return {
    app,
    operations: operationsOf(given, mechanisms),
    mechanisms,
    input: given.flag('digest') ? 'digest' : 'message',
    maxUses: given.count('uses'),
    ...rateOf(given),
    duration: formatDuration(given.duration('for')),
    ...instantOf(given, 'from', 'notBefore'),
    ...instantOf(given, 'until', 'notAfter'),
  };
}

function rateOf(given: CommandArguments): Pick<ScopeOrder, 'rate'> {
  const text = given.find('rate');
  if (text === undefined) return {};
  const [, uses, length] = /^([1-9][0-9]{0,8})\/(.+)$/.exec(text) ?? [];
  const perMs = parseDurationArgument(length ?? '');
  if (uses === undefined || perMs === undefined) {
    throw new UsageError(`--rate ${text} is not a rate`, 'write 10/1m for at most 10 uses in any minute');
  }
  return { rate: { uses: Number(uses), per: formatDuration(perMs) } };
}

function instantOf<M extends 'notBefore' | 'notAfter'>(
  given: CommandArguments,
  option: string,
  member: M,
): Partial<Record<M, string>> {
  const text = given.find(option);
  if (text === undefined) return {};
  const instant = new Date(text);
  if (!/^\d{4}-\d{2}-\d{2}T/.test(text) || Number.isNaN(instant.getTime())) {
    throw new UsageError(`--${option} ${text} is not an instant`, 'write 2026-01-31T08:00:00Z');
  }
  return { [member]: instant.toISOString() } as Partial<Record<M, string>>;
}

function operationsOf(given: CommandArguments, mechanisms: readonly Mechanism[]): ScopeOrder['operations'] {
  const needed = new Set(mechanisms.map((name) => MECHANISMS[name].use));
  const named = given.list('operation');
  const stray = named.find((use) => !needed.has(use as 'sign' | 'decrypt'));
  if (stray !== undefined) throw new UsageError(`--operation ${stray} needs a --mechanism that does so`);
  return USES.filter((use) => (named.length === 0 ? needed.has(use) : named.includes(use)));
}

/** What may still come to something: it is to be decided, or carried out, or used. */
const OPEN: ReadonlySet<string> = new Set(['pending', 'approved', 'active']);

function list(session: Session, given: CommandArguments): Promise<Result> {
  const isOpen = given.flag('open');
  return listed(session, given, {
    busy: 'listing requests',
    page: (client, query) => client.recoveries(query),
    wanted: ({ status }) => !isOpen || OPEN.has(status),
    none: 'No requests.',
    columns: [
      ['REQUEST', ({ recovery }) => recovery],
      ['STATUS', ({ status }) => status],
      ['PURPOSE', ({ purpose }) => purpose],
      ['OWNER', ({ owner }) => owner],
      ['KEYS', ({ keys }) => String(keys.length)],
      ['ASKED BY', ({ requester }) => requester],
      ['FILED', ({ filedAt }) => distance(new Date(filedAt), session.now)],
      ['WAITS FOR', (recovery) => waitsForInWords(recovery) ?? ''],
      ['REASON', ({ reason }) => cellOf(reason)],
    ],
    next: (items) => (items.length === 0 ? undefined : 'escrowctl recovery show REQUEST'),
  });
}

async function show(session: Session, given: CommandArguments): Promise<Result> {
  const { client } = await session.connect();
  const recovery = await session.busy('asking for the request', async () =>
    client.recovery(await idOf(session, client, 'rec', given.argument(0))),
  );
  return {
    json: recovery,
    lines: facts(recoveryFacts(recovery, session.now)),
    next: nextForRecovery(recovery),
  };
}
