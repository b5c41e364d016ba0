import type { WireEntry } from '../../escrow/wire.js';
import type { Entry } from '../../log/entry.js';
import { decodeEntry, EntryError } from '../../log/entry.js';
import { table } from '../columns.js';
import type { CommandRow, Result } from '../command.js';
import type { Given } from '../given.js';
import { collect } from '../pages.js';
import type { Session } from '../session.js';
import { localTime } from '../times.js';

/** What was done with the caller's keys. */
export const historyCommand: CommandRow = {
  usage: 'history',
  summary: 'shows everything that was done, or tried, with your keys, newest first',
  options: [
    { flags: '--key <key>', about: 'only this key' },
    { flags: '--limit <n>', about: 'how many entries', default: '100' },
  ],
  examples: ['history --as ~/.escrowd', 'history --key key_0123456789abcdef0123456789abcdef --json'],
  run: history,
};

interface Read {
  readonly index: number;
  readonly entry: Entry | undefined;
}

async function history(session: Session, given: Given): Promise<Result> {
  const key = given.find('key');
  const { client } = await session.connect();
  const { items, hasMore } = await session.busy('reading the history', () =>
    collect(
      async (query) => {
        const page = await client.history(query);
        return { ...page, items: page.items.map(read) };
      },
      given.count('limit'),
      ({ entry }) => key === undefined || entry?.subject.key === key,
    ),
  );
  const rows = items.map(({ index, entry }) =>
    entry === undefined
      ? [String(index), '', '', '', 'not an entry that this version can read', '']
      : [
          String(index),
          localTime(new Date(entry.time)),
          entry.actor,
          entry.act,
          entry.error === undefined ? entry.phase : `${entry.phase}: ${entry.error}`,
          aboutOf(entry),
        ],
  );
  return {
    json: { items: items.map(({ index, entry }) => ({ index, entry: entry ?? null })), hasMore },
    lines:
      items.length === 0
        ? ['Nothing yet.']
        : table(['ENTRY', 'TIME', 'WHO', 'ACT', 'OUTCOME', 'ABOUT'], rows),
    next: hasMore ? 'there is more: --limit N' : undefined,
  };
}

function read({ index, entry }: WireEntry): Read {
  try {
    return { index, entry: decodeEntry(Buffer.from(entry)) };
  } catch (error) {
    if (error instanceof EntryError) return { index, entry: undefined };
    throw error;
  }
}

function aboutOf({ subject }: Entry): string {
  return [subject.grant, subject.recovery, subject.key].filter((id) => id !== undefined).join(' ');
}
