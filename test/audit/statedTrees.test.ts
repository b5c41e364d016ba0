import { StatedTrees } from '../../src/audit/statedTrees.js';
import { encodeBase64 } from '../../src/log/note/base64.js';
import type { Entry } from '../../src/log/entry/entry.js';
import { decodeEntry, encodeEntry } from '../../src/log/entry/entry.js';
import { Frontier, leafHash } from '../../src/log/tree/merkle.js';

const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
const jws = (payload: object): string =>
  [part({ alg: 'ES256', typ: 'escrowd-approval+jwt', kid: 'k' }), part(payload), 'AAAA'].join('.');

function entry(act: string, detail: Entry['detail'], number: number): Uint8Array {
  return encodeEntry({
    v: 1,
    time: '2026-03-01T12:00:00.000Z',
    act,
    id: `act_${String(number).padStart(32, '0')}`,
    phase: 'attempted',
    actor: 'dana',
    subject: {},
    detail,
  });
}

type Tree = { readonly size: number; readonly root: string } | Readonly<Record<string, unknown>> | undefined;

/** A log of ten entries, and then decisions that name trees, made of those that the log had. */
function logOf(
  act: string,
  treesOf: (treeOf: (size: number) => { size: number; root: string }) => readonly Tree[],
): Uint8Array[] {
  const entries = Array.from({ length: 10 }, (_, at) => entry('key.read', {}, at));
  const treeOf = (size: number): { size: number; root: string } => {
    const tree = Frontier.empty();
    for (const each of entries.slice(0, size)) tree.append(leafHash(each));
    return { size, root: encodeBase64(tree.root()) };
  };
  for (const checkpoint of treesOf(treeOf)) {
    const statement = jws(checkpoint === undefined ? {} : { checkpoint });
    entries.push(entry(act, { statement }, entries.length));
  }
  return entries;
}

async function foreignIn(
  entries: readonly Uint8Array[],
  chunkBytes: number,
): Promise<string | number | undefined> {
  const trees = new StatedTrees();
  for (const [index, bytes] of entries.entries()) {
    const refused = trees.check(decodeEntry(bytes), index);
    if (refused !== undefined) return refused;
  }
  const lines = [Buffer.from('{"format":"escrowd-log-export/1"}'), ...entries].map((line) =>
    Buffer.concat([line, Buffer.from('\n')]),
  );
  const all = Buffer.concat(lines);
  async function* chunks(): AsyncGenerator<Uint8Array> {
    for (let at = 0; at < all.length; at += chunkBytes)
      yield Promise.resolve(all.subarray(at, at + chunkBytes));
  }
  return trees.findForeign(chunks());
}

describe.each(['recovery.intend', 'recovery.approve', 'recovery.deny'])(
  'the trees that statements of %s name',
  (act) => {
    test.each([7, 100_000])(
      'are those that the log went through (read in pieces of %i bytes)',
      async (chunkBytes) => {
        const entries = logOf(act, (treeOf) => [10, 1, 10, 5, 7].map(treeOf));
        expect(await foreignIn(entries, chunkBytes)).toBeUndefined();
      },
    );

    test('are found to be of another log, the first of them first', async () => {
      const other = { root: encodeBase64(Buffer.alloc(32, 1)) };
      const entries = logOf(act, (treeOf) => [
        treeOf(3),
        { ...treeOf(9), ...other },
        { ...treeOf(2), ...other },
        treeOf(2),
      ]);
      expect(await foreignIn(entries, 1000)).toBe(11);
    });

    test.each([
      { size: 11, root: 'x' },
      { size: 0, root: 'x' },
      { size: 1.5 },
      { size: 3 },
      { size: '3', root: 'x' },
    ])('are none that there was: %j', async (tree) => {
      expect(
        await foreignIn(
          logOf(act, () => [tree]),
          1000,
        ),
      ).toBe('the statement names no tree that there was');
    });
  },
);
