import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { verifyExport } from '../../../src/audit/verifyExport.js';
import type { Call } from '../../../src/escrow/escrow.js';
import type { HistoryStatement } from '../../../src/escrow/acts/attestHistory.ts';
import { attestHistory } from '../../../src/escrow/acts/attestHistory.ts';
import type { OwnerChain, ReadTree } from '../../../src/escrow/logged/ownerChains.js';
import { chainOf, OwnerChains } from '../../../src/escrow/logged/ownerChains.js';
import type { HistoryFilter } from '../../../src/escrow/records/ownerHistory.js';
import type { StoredEntry } from '../../../src/escrow/ports/log.ts';
import { decodeEntry, encodeEntry } from '../../../src/log/entry/entry.js';
import { parseCheckpoint } from '../../../src/log/note/checkpoint.js';
import { leafHash } from '../../../src/log/tree/merkle.js';
import { parseNote } from '../../../src/log/note/note.js';
import {
  administrators,
  document,
  goldenEntries,
  logKey,
  ORIGIN,
  people,
  at,
} from '../../client/goldenLog.js';
import { SignedActs } from '../../client/signedActs.js';
import { newWorld, type World } from '../../http/world.js';
import { bytesOf, exportLinesOf } from '../../log/exportText.js';
import { callBy } from '../../support/calls.js';
import { memoryLog, type MemoryLog } from '../../support/memoryLog.js';
import { parsePolicy } from '../../../src/http/policyDocument.js';

/*
 * The database hides entries from their owner, who asks for a statement that their history is complete.
 */
const policy = parsePolicy(JSON.stringify(document), 1);
const acts = new SignedActs(ORIGIN);
let requests = 0;
const signedByOlga = (): Promise<string> => {
  requests += 1;
  return acts.request(people.olga, 20, '/v1/history/statement', { jti: `history-${requests}` });
};

interface Scene {
  readonly world: World;
  readonly log: MemoryLog;
  readonly attest: (filter?: HistoryFilter) => Promise<HistoryStatement>;
}

/** A log with a key of olga's that was used, and the daemon that reads it. */
async function scene(): Promise<Scene> {
  const world = newWorld();
  world.journal.entries.push(...(await goldenEntries()));
  world.now = new Date(at(20));
  const log = memoryLog(ORIGIN, logKey, () => world.journal.entries);
  const escrow = {
    ...world.escrow,
    origin: ORIGIN,
    log: { ...world.escrow.log, ...log },
    owners: new OwnerChains(log),
  };
  // what a test replaces afterwards is asked as it is then
  Object.assign(escrow.log, {
    entries: (from: number, limit: number) => log.entries(from, limit),
    entriesAbout: (...given: Parameters<MemoryLog['entriesAbout']>) => log.entriesAbout(...given),
  });
  return {
    world,
    log,
    attest: async (filter = {}) => {
      const olga = policy.principals.get('olga' as never);
      if (olga === undefined) throw new Error('olga is in the policy');
      const signed = await signedByOlga();
      const call: Call = callBy(olga, { version: 1 }, signed);
      return (await attestHistory(escrow, call, filter)).answer;
    },
  };
}

const isRelease = ({ entry }: StoredEntry): boolean => decodeEntry(entry).act === 'recovery.activate';
const withoutRelease = (all: readonly StoredEntry[]): readonly StoredEntry[] =>
  all.filter((stored) => !isRelease(stored));
const spoilt = ({ index, entry }: StoredEntry): StoredEntry => ({
  index,
  entry: encodeEntry({ ...decodeEntry(entry), subject: {} }),
});

/** What the database does, and whether by the index or by what stands in the log. */
const ATTACKS: Readonly<Record<string, Partial<Pick<MemoryLog, 'indexed' | 'stored'>>>> = {
  'leaves entries out of the index': { indexed: withoutRelease },
  'leaves the oldest entry out of the index': { indexed: (all) => all.slice(3) },
  'gives another entry in the place of one': {
    indexed: (all) =>
      all.map((stored) => (isRelease(stored) ? { ...stored, entry: all[2]?.entry ?? stored.entry } : stored)),
  },
  'gives an entry of somebody else as well': {
    indexed: (all) => [
      ...all.slice(0, 1),
      { index: 1, entry: all[2]?.entry ?? new Uint8Array() },
      ...all.slice(2),
    ],
  },
  'leaves entries out of the log': { stored: withoutRelease, indexed: withoutRelease },
  'leaves entries out of the log, and closes the gap': {
    stored: (all) => withoutRelease(all).map(({ entry }, index) => ({ index, entry })),
    indexed: withoutRelease,
  },
  'says of entries that they are about nobody': {
    stored: (all) => all.map((stored) => (isRelease(stored) ? spoilt(stored) : stored)),
    indexed: withoutRelease,
  },
  'ends the log early': { stored: (all) => all.slice(0, 9), indexed: (all) => all.slice(0, 9) },
};

const FILTERS: readonly HistoryFilter[] = [{}, { act: 'recovery.activate' }, { since: at(9) }];

describe.each(Object.entries(ATTACKS))('the database %s', (_what, attack) => {
  test.each(FILTERS)('and no statement is signed, of %j', async (filter) => {
    const { world, log, attest } = await scene();
    const before = world.journal.entries.length;
    Object.assign(log, attack);
    await expect(attest(filter)).rejects.toMatchObject({ code: 'history-incomplete' });
    expect(world.journal.entries.slice(before)).toMatchObject([
      { phase: 'denied', error: 'history-incomplete' },
    ]);
    // restored, it goes on
    Object.assign(log, { indexed: (all: unknown) => all, stored: (all: unknown) => all });
    expect((await attest(filter)).statement).toMatch(/\./);
  });
});

/** The check taken out: what the index has is all that there is. */
class Believing extends OwnerChains {
  constructor(readonly log: MemoryLog) {
    super(log);
  }
  override async of(
    owner: string,
    newest: () => Promise<string>,
  ): Promise<{ readonly chain: OwnerChain; readonly tree: ReadTree }> {
    const checkpoint = await newest();
    const { size, root } = parseCheckpoint(parseNote(checkpoint).text);
    const { items } = await this.log.entriesAbout({ owner }, { after: undefined, limit: 1000 }, size);
    const leaves = items.map(({ index, entry }) => ({ index, leaf: leafHash(entry) })).reverse();
    return { chain: chainOf(leaves), tree: { checkpoint, size, root } };
  }
}

describe('a statement over a history that leaves something out', () => {
  let directory: string;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'escrowd-history-'));
  });
  afterEach(() => {
    rmSync(directory, { recursive: true });
  });
  const verdictOn = async ({ journal }: World): ReturnType<typeof verifyExport> => {
    const path = join(directory, 'log');
    const lines = journal.entries.map((entry) => Buffer.from(encodeEntry(entry)).toString());
    writeFileSync(path, bytesOf(exportLinesOf({ origin: ORIGIN, logKey, documents: [document], lines })));
    return verifyExport({ path, logKey: logKey.vkey, bootstrap: administrators });
  };
  const dishonest = async (filter: HistoryFilter): Promise<World> => {
    const { world, log } = await scene();
    log.indexed = withoutRelease;
    const escrow = {
      ...world.escrow,
      origin: ORIGIN,
      log: { ...world.escrow.log, ...log },
      owners: new Believing(log),
    };
    const olga = policy.principals.get('olga' as never);
    if (olga === undefined) throw new Error('olga is in the policy');
    const signed = await signedByOlga();
    await attestHistory(escrow, callBy(olga, { version: 1 }, signed), filter);
    return world;
  };

  test.each(FILTERS)(
    'is signed once the check is taken out, and the export is not believed then: %j',
    async (filter) => {
      const { verdict } = await verdictOn(await dishonest(filter));
      expect(verdict).toMatchObject({
        ok: false,
        index: 26,
        reason: expect.stringMatching(/history of olga is said to be complete/) as string,
      });
    },
  );

  test.each(FILTERS)(
    'is the reason: an honest one is made anew, and the export believed: %j',
    async (filter) => {
      const { world, attest } = await scene();
      await attest(filter);
      await attest({});
      const { verdict, histories } = await verdictOn(world);
      expect(verdict).toMatchObject({ ok: true, size: 30 });
      expect(histories).toBe(2);
    },
  );

  test.each([
    ['of another tree', { checkpoint: { size: 26, root: Buffer.alloc(32).toString('base64') } }],
    [
      'of a tree that was not there yet',
      { checkpoint: { size: 27, root: Buffer.alloc(32).toString('base64') } },
    ],
    ['with another number of entries', { count: 3 }],
    ['with another list', { list: 'ab'.repeat(32) }],
    ['of which one does not know what it says', { filter: { who: 'knows' } }],
  ])('%s is found', async (_name, changes) => {
    const { world, attest } = await scene();
    await attest();
    world.journal.entries.splice(
      26,
      1,
      ...world.journal.entries
        .slice(26, 27)
        .map((entry) => ({ ...entry, detail: { ...entry.detail, ...changes } })),
    );
    expect((await verdictOn(world)).verdict).toMatchObject({ ok: false, index: 26 });
  });
});
