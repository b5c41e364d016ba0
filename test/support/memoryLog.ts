import type { LogReader, StoredEntry } from '../../src/escrow/ports/log.ts';
import type { Page, PageRequest } from '../../src/escrow/ports/store.ts';
import type { Entry } from '../../src/log/entry/entry.js';
import { encodeEntry } from '../../src/log/entry/entry.js';
import { Frontier, leafHash } from '../../src/log/tree/merkle.js';
import { inclusionProof } from '../../src/log/tree/prover.js';
import type { TestKey } from '../log/noteKeys.js';
import { signCheckpoint } from '../log/noteKeys.js';
import { leafReader } from '../log/sampleTree.js';

/** What a database gives of a log; a test replaces what its adversary changes. */
export interface MemoryLog extends Pick<LogReader, 'checkpoint' | 'entries' | 'entriesAbout' | 'inclusions'> {
  /** The entries that are asked for by the index of subjects. */
  indexed: (all: readonly StoredEntry[]) => readonly StoredEntry[];
  /** The entries that are asked for by their place. */
  stored: (all: readonly StoredEntry[]) => readonly StoredEntry[];
}

/** The log of these entries, as they are when it is asked: read as from a database, under a key of the test's own. */
export function memoryLog(origin: string, logKey: TestKey, entries: () => readonly Entry[]): MemoryLog {
  const all = (): readonly StoredEntry[] =>
    entries().map((entry, index) => ({ index, entry: encodeEntry(entry) }));
  const checkpoint = (size: number): string => {
    const tree = Frontier.empty();
    for (const { entry } of all().slice(0, size)) tree.append(leafHash(entry));
    return signCheckpoint(logKey, { origin, size: tree.size, root: tree.root() });
  };
  const log: MemoryLog = {
    indexed: (stored) => stored,
    stored: (stored) => stored,
    checkpoint: () => {
      const size = entries().length;
      return Promise.resolve(size === 0 ? undefined : { size, note: checkpoint(size) });
    },
    entries: (from, limit) =>
      Promise.resolve(
        log
          .stored(all())
          .filter(({ index }) => index >= from)
          .slice(0, limit),
      ),
    entriesAbout: (about, page, below = Infinity) =>
      Promise.resolve(pageOf(log.indexed(all()), about.owner, page, below)),
    inclusions: async (indexes, wanted) => {
      const size = wanted ?? entries().length;
      if (size === 0) return { checkpoint: undefined, proofs: [] };
      const reader = leafReader(all().map(({ entry }) => leafHash(entry)));
      const proofs = await Promise.all(indexes.map((index) => inclusionProof(reader, index, size)));
      return { checkpoint: checkpoint(size), proofs };
    },
  };
  return log;
}

function pageOf(
  all: readonly StoredEntry[],
  owner: string | undefined,
  { after, limit }: PageRequest,
  below: number,
): Page<StoredEntry> {
  const end = Math.min(below, Number(after ?? Infinity));
  const found = all
    .filter(({ index }) => index < end)
    .filter(({ entry }) => {
      const { subject } = JSON.parse(Buffer.from(entry).toString()) as Entry;
      return owner === undefined || subject.owner === owner;
    })
    .reverse();
  const items = found.slice(0, limit);
  return { items, next: found.length > limit ? String(items.at(-1)?.index) : undefined };
}
