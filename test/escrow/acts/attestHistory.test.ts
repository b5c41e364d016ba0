import { attestHistory } from '../../../src/escrow/acts/attestHistory.js';
import type { Escrow } from '../../../src/escrow/escrow.js';
import { OwnerChains } from '../../../src/escrow/logged/ownerChains.js';
import type { LogReader, StoredEntry } from '../../../src/escrow/ports/log.js';
import type { KeyId } from '../../../src/escrow/records/ids.js';
import { type HistoryFilter, HistoryList, isInHistory } from '../../../src/escrow/records/ownerHistory.js';
import { HISTORY_TYPE } from '../../../src/escrow/records/statementTypes.js';
import { type Entry, encodeEntry } from '../../../src/log/entry/entry.js';
import { formatCheckpoint } from '../../../src/log/note/checkpoint.js';
import { formatNote } from '../../../src/log/note/note.js';
import { encodeBase64 } from '../../../src/log/note/base64.js';
import { Frontier, leafHash } from '../../../src/log/tree/merkle.js';
import { callOf, worldOf } from '../symbolicPeople.js';
import type { SymbolicWorld } from '../symbolicWorld.js';
import { expectDone, expectFailedAt, expectRefused } from './actCases.js';

/** What the database shows of the log, which may be other than the log. */
interface Shown {
  entries: (all: readonly Entry[]) => readonly Entry[];
  about: (ofOwner: readonly StoredEntry[]) => readonly StoredEntry[];
}

interface Scene {
  readonly world: SymbolicWorld;
  readonly escrow: Escrow;
  readonly shown: Shown;
  readonly key: KeyId;
}

function frontierOf(entries: readonly Entry[]): Frontier {
  const tree = Frontier.empty();
  for (const entry of entries) tree.append(leafHash(encodeEntry(entry)));
  return tree;
}

/** The log of a world, read as a database shows it under the checkpoint that is signed. */
function readerOf(world: SymbolicWorld, shown: Shown): LogReader {
  return {
    entries: (from: number, limit: number) => {
      const page = shown.entries(world.entries).slice(from, from + limit);
      return Promise.resolve(page.map((entry, at) => ({ index: from + at, entry: encodeEntry(entry) })));
    },
    entriesAbout: (
      { owner }: { owner: string },
      page: { after?: string; limit: number },
      below = Infinity,
    ) => {
      const ofOwner = [...world.entries.entries()].flatMap(([index, entry]) =>
        entry.subject.owner === owner && index < below ? [{ index, entry: encodeEntry(entry) }] : [],
      );
      const newestFirst = shown.about(ofOwner).toReversed();
      const from = Number(page.after ?? 0);
      const to = from + page.limit;
      return Promise.resolve({
        items: newestFirst.slice(from, to),
        next: to < newestFirst.length ? String(to) : undefined,
      });
    },
    inclusions: () => {
      const root = frontierOf(world.entries).root();
      const text = formatCheckpoint({ origin: world.escrow.origin, size: world.entries.length, root });
      const signature = { name: 'log', keyId: 1, signature: Buffer.alloc(64) };
      return Promise.resolve({ checkpoint: formatNote(text, [signature]), proofs: [] });
    },
  } as Partial<LogReader> as LogReader;
}

/** Two keys of olga's. */
async function scene(): Promise<Scene> {
  const { world, keys } = await worldOf({}, {});
  const [key] = keys;
  if (key === undefined) throw new Error('no key');
  const shown: Shown = { entries: (all) => all, about: (all) => all };
  const log = readerOf(world, shown);
  return { world, escrow: { ...world.escrow, log, owners: new OwnerChains(log) }, shown, key };
}

const attest = (
  { escrow }: Scene,
  filter: HistoryFilter = {},
  by = 'olga',
): ReturnType<typeof attestHistory> => attestHistory(escrow, callOf(by), filter);

/** What the statement is to say of these entries. */
function expected(entries: readonly Entry[], owner: string, filter: HistoryFilter): object {
  const list = new HistoryList();
  for (const [at, entry] of [...entries.entries()].reverse())
    if (isInHistory(entry, owner, filter)) list.add(at, encodeEntry(entry));
  const root = encodeBase64(frontierOf(entries).root());
  return { count: list.count, list: list.digest(), checkpoint: { size: entries.length, root } };
}

test.each([
  ['all of it', 4, () => ({})],
  ['the entries about one key', 2, ({ key }: Scene) => ({ key })],
  ['an act', 4, () => ({ act: 'key.generate' })],
  ['an act that there is none of', 0, () => ({ act: 'grant.sign' })],
])('states how many entries there are, and which, of %s', async (_name, count, filterOf) => {
  const all = await scene();
  const filter = filterOf(all);
  const before = [...all.world.entries];
  let recorded: Awaited<ReturnType<typeof attest>> | undefined;
  const [attempted] = await expectDone(all.world, 'history.attest', async () => {
    recorded = await attest(all, filter);
  });
  const said = expected(before, 'olga', filter);
  expect(attempted).toMatchObject({ subject: { owner: 'olga' }, detail: said });
  const { statement, checkpoint } = recorded?.answer ?? { statement: '', checkpoint: '' };
  const payload = await all.escrow.identity.verify(statement, HISTORY_TYPE);
  expect(payload).toMatchObject({ ...said, sub: 'olga', iss: all.escrow.origin, filter, count });
  expect(checkpoint.split('\n')[1]).toBe(String(before.length));
});

test('an owner of whom the log has nothing gets a statement that there is nothing', async () => {
  const all = await scene();
  const { answer } = await attest(all, {}, 'mailer');
  expect(await all.escrow.identity.verify(answer.statement, HISTORY_TYPE)).toMatchObject({ count: 0 });
});

test.each([
  [
    'leaves an entry about the owner out of the index',
    (shown: Shown) => (shown.about = (all) => all.slice(1)),
  ],
  ['has an entry twice in the index', (shown: Shown) => (shown.about = (all) => [...all, ...all.slice(-1)])],
  ['has them in another order', (shown: Shown) => (shown.about = (all) => all.toReversed())],
  ['has none of them in the index', (shown: Shown) => (shown.about = () => [])],
  ['leaves an entry out of the log', (shown: Shown) => (shown.entries = (all) => all.slice(0, -1))],
  [
    'has another entry in the place of one',
    (shown: Shown) =>
      (shown.entries = (all) => all.map((entry, at) => (at === 1 ? { ...entry, detail: {} } : entry))),
  ],
])('states nothing when the database %s', async (_name, lie) => {
  const all = await scene();
  lie(all.shown);
  await expectRefused(all.world, 'history.attest', 'history-incomplete', () => attest(all));
});

test('a lie that ends is no harm: what was read under no signed tree is read anew', async () => {
  const all = await scene();
  all.shown.entries = (entries) => entries.map((entry) => ({ ...entry, detail: {} }));
  await expect(attest(all)).rejects.toMatchObject({ code: 'history-incomplete' });
  all.shown.entries = (entries) => entries;
  const before = [...all.world.entries];
  const { answer } = await attest(all);
  const payload = await all.escrow.identity.verify(answer.statement, HISTORY_TYPE);
  expect(payload).toMatchObject(expected(before, 'olga', {}));
});

test('without the token there is no statement, and the log says so', async () => {
  const all = await scene();
  await expectFailedAt(all.world, 'history.attest', 'attest', () => attest(all));
});
