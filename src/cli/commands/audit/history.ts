import type { BelievedHistory, HistoryPins } from '../../../client/history/historyFile.js';
import {
  exportHistory,
  type OwnEntry,
  readHistory,
  verifyHistory,
} from '../../../client/history/ownHistory.js';
import { parseCeremonyRecord } from '../../../client/serverPins.js';
import { readTrustedText } from '../../../client/files/textFile.js';
import { readTrustedFile } from '../../../client/files/trustedFile.js';
import { quoted } from '../../../escrow/records/freeText.js';
import type { HistoryFilter } from '../../../escrow/records/ownerHistory.js';
import type { Entry } from '../../../log/entry/entry.js';
import { decodeUtf8 } from '../../../log/entry/plainText.js';
import { facts, table } from '../../columns.js';
import type { CommandRow, OptionRow, Result } from '../../command.js';
import { parseDurationArgument } from '../../durationArgument.js';
import { UsageError } from '../../failures.js';
import { disbelieved } from '../../files/conversion.js';
import type { CommandArguments } from '../../commandArguments.js';
import { FORCE, placeOfFile } from '../../files/outputs.js';
import type { Session } from '../../session.js';
import { bar } from '../../spinner.js';
import { localTime } from '../../times.js';

/** Which part of a history is meant: see {@link filterOf}. */
export const FILTERS = {
  key: { flags: '--key <key>', about: 'only this key' },
  act: { flags: '--act <act>', about: 'only this act, e.g. grant.sign, recovery.request, key.generate' },
  since: {
    flags: '--since <time>',
    about: 'from this time on: 2026-01-31, 2026-01-31T12:00:00Z, or 7d for 7 days ago',
  },
  until: { flags: '--until <time>', about: 'up to this time' },
} as const satisfies Record<string, OptionRow>;

/** What was done with the caller's keys. */
export const historyCommand: CommandRow = {
  usage: 'history',
  summary: 'shows everything that was done, or tried, with your keys, newest first',
  about:
    'Every entry shown is proven to be in the log, which must continue what you saw before. That none was left out is\n' +
    'what history export proves.',
  options: [...Object.values(FILTERS), { flags: '--limit <n>', about: 'how many entries', default: '100' }],
  examples: [
    'history --as ~/.escrowd',
    'history --key key_0123456789abcdef0123456789abcdef --act grant.sign --since 7d --json',
    'history find letter.pdf --as ~/.escrowd',
    'history export history.ndjson --as ~/.escrowd',
    'history verify history.ndjson --as ~/.escrowd',
  ],
  run: history,
};

export const historyCommands: readonly CommandRow[] = [
  {
    usage: 'export <file>',
    summary: 'writes your history with all proofs, and the signed statement that it is complete',
    about:
      'The token signs that these are all entries up to the newest checkpoint. Everything is verified as it is written;\n' +
      'the file appears whole or not at all.',
    options: [...Object.values(FILTERS), FORCE],
    examples: ['history export history.ndjson --as ~/.escrowd'],
    run: exportCommand,
  },
  {
    usage: 'verify <file>',
    summary: 'verifies an exported history offline; exit code 0 says: believe it, 5: do not',
    about:
      'Checks the signatures of the log and of the token, that every entry is in the log and about this owner, and that\n' +
      'none is missing. Needs no server: only what you have pinned, or the record of the ceremony.',
    options: [
      { flags: '--record <file>', about: "the ceremony's record (default: what your identity has pinned)" },
      { flags: '--origin <origin>', about: 'with --record, when the record does not say it' },
      { flags: '--owner <id>', about: 'whose history it has to be (default: yours)' },
      {
        flags: '--against <file>',
        about: 'a signed checkpoint that you kept (default: the last that you saw)',
      },
    ],
    examples: [
      'history verify history.ndjson --as ~/.escrowd',
      'history verify history.ndjson --record record.json --owner olga',
    ],
    run: verify,
  },
];

async function history(session: Session, given: CommandArguments): Promise<Result> {
  const filter = filterOf(session, given);
  const { identity, client, log } = await session.connect();
  const owner = identity.signer.id;
  const { items, hasMore } = await session.busy('reading the history', () =>
    readHistory({ client, log, owner }, filter, given.count('limit')),
  );
  return {
    json: { items, hasMore },
    lines: items.length === 0 ? ['Nothing yet.'] : listed(session, oneAnAct(items)),
    next: hasMore ? 'there is more: --limit N' : 'what you can still stop is in escrowctl inbox',
  };
}

/** Entries, a line each. */
export function listed(session: Session, items: readonly OwnEntry[]): readonly string[] {
  const rows = items.map(({ index, entry }) => [
    String(index),
    localTime(new Date(entry.time)),
    entry.actor,
    entry.act,
    entry.error === undefined ? entry.phase : `${entry.phase}: ${entry.error}`,
    aboutOf(entry),
  ]);
  return table(HEADING, rows, session.terminal.columns);
}

const HEADING = ['ENTRY', 'TIME', 'WHO', 'ACT', 'OUTCOME', 'ABOUT'];

/** Of each act the newest entry: its outcome, or its attempt where there is none. */
function oneAnAct(items: readonly OwnEntry[]): readonly OwnEntry[] {
  const shown = new Set<string>();
  return items.filter(({ entry: { id } }) => {
    const isFirst = !shown.has(id);
    shown.add(id);
    return isFirst;
  });
}

async function exportCommand(session: Session, given: CommandArguments): Promise<Result> {
  const path = await placeOfFile(session, given, given.argument(0));
  const filter = filterOf(session, given);
  const { identity, client, log } = await session.connect();
  const believed = await session.busy('exporting the history', (progress) =>
    exportHistory({
      client,
      log,
      owner: identity.signer.id,
      pins: identity.pins,
      filter,
      path,
      now: session.now,
      onProgress: (done, total) => {
        progress(`exporting the history ${bar(done, total)} ${done} of ${total} entries`);
      },
    }),
  );
  return {
    json: { out: given.argument(0), ...toldOf(believed) },
    lines: [
      `Exported ${believed.count} entries to ${given.argument(0)}: all that there are.`,
      ...factsOf(believed),
    ],
    next: `escrowctl history verify ${given.argument(0)}`,
  };
}

async function verify(session: Session, given: CommandArguments): Promise<Result> {
  const path = given.argument(0);
  const pins = await pinsOf(session, given);
  const verdict = await session.busy('verifying the history', () => verifyHistory(path, pins));
  if (!verdict.ok) return disbelieved(path, verdict);
  return {
    json: { ok: true, ...toldOf(verdict), isOlder: verdict.isOlder },
    lines: [
      `Believe it: these ${verdict.count} entries are all that the log has about ${verdict.owner} up to its entry ${verdict.size - 1}.`,
      ...factsOf(verdict),
    ],
    ...(verdict.isOlder ? { next: 'you have seen a longer log since: export again for what is newer' } : {}),
  };
}

async function pinsOf(session: Session, given: CommandArguments): Promise<HistoryPins> {
  const record = given.find('record');
  const owner = given.find('owner');
  const againstFile = given.find('against');
  const against =
    againstFile === undefined ? undefined : decodeUtf8(await readTrustedFile(againstFile), againstFile);
  if (record !== undefined) {
    const pins = parseCeremonyRecord(await readTrustedText(record), given.find('origin'));
    return pinned(pins, owner, against);
  }
  if (!session.hasIdentity) {
    throw new UsageError('which keys are to be believed?', 'add --as DIR, or --record FILE');
  }
  const identity = await session.identity();
  return pinned(identity.pins, owner ?? identity.signer.id, against ?? (await identity.memory.last()));
}

function pinned(pins: HistoryPins, owner: string | undefined, against: string | undefined): HistoryPins {
  const { origin, logKey, identityKey } = pins;
  return {
    origin,
    logKey,
    identityKey,
    ...(owner === undefined ? {} : { owner }),
    ...(against === undefined ? {} : { against }),
  };
}

function toldOf({ owner, filter, size, root, count, issuedAt }: BelievedHistory): object {
  const checkpoint = { size, root: Buffer.from(root).toString('base64') };
  return { owner, filter, count, checkpoint, issuedAt: issuedAt.toISOString() };
}

function factsOf({ owner, filter, size, root, issuedAt }: BelievedHistory): readonly string[] {
  return facts([
    ['owner', owner],
    ['only key', filter.key],
    ['only act', filter.act],
    ['since', filter.since],
    ['until', filter.until],
    ['log', `${size} entries, root ${Buffer.from(root).toString('base64')}`],
    ['signed by the token', localTime(issuedAt)],
  ]);
}

/** @throws UsageError for what is no time */
export function filterOf(session: Session, given: CommandArguments): HistoryFilter {
  const [key, act, since, until] = [
    given.find('key'),
    given.find('act'),
    instantOf(session, given, 'since'),
    instantOf(session, given, 'until'),
  ];
  return {
    ...(key === undefined ? {} : { key }),
    ...(act === undefined ? {} : { act }),
    ...(since === undefined ? {} : { since }),
    ...(until === undefined ? {} : { until }),
  };
}

/** A date, an instant, or how long ago; as it stands in entries. */
function instantOf(session: Session, given: CommandArguments, name: string): string | undefined {
  const text = given.find(name);
  if (text === undefined) return undefined;
  const agoMs = parseDurationArgument(text);
  const isDate = /^\d{4}-\d{2}-\d{2}(?:T[\d:.]+(?:Z|[+-]\d{2}:\d{2}))?$/.test(text);
  const date = agoMs === undefined ? new Date(isDate ? text : NaN) : new Date(session.now.getTime() - agoMs);
  if (Number.isNaN(date.getTime())) {
    throw new UsageError(`--${name} ${text} is not a time`, 'write 2026-01-31, 2026-01-31T12:00:00Z, or 7d');
  }
  return date.toISOString();
}

/** What a use was for comes first, where the app has said it: the rest is ids. */
function aboutOf({ subject, detail: { context } }: Entry): string {
  const { grant, recovery, key, keys = [] } = subject;
  const words = typeof context === 'string' ? quoted(context) : undefined;
  return [words, grant, recovery, key, ...keys].filter((part) => part !== undefined).join(' ');
}
