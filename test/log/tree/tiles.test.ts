import fc from 'fast-check';
import { Frontier } from '../../../src/log/tree/merkle.js';
import { verifyConsistency, verifyInclusion } from '../../../src/log/tree/proof.js';
import { consistencyProof, inclusionProof, rootOf } from '../../../src/log/tree/prover.js';
import {
  entriesOfBundle,
  entryBundle,
  parseBundlePath,
  growTree,
  parseTilePath,
  tileHashReader,
  tilePath,
  tileWidthAt,
  type CompletedTile,
  type TileReader,
} from '../../../src/log/tree/tiles.js';
import { hex, sampleLeaves, tileStore } from '../sampleTree.js';

/* Index 1234067, and the trees of 70,000 and of 256 leaves, are the examples of C2SP tlog-tiles. */
describe('tile paths (C2SP tlog-tiles)', () => {
  test.each([
    [0, 0, 256, 'tile/0/000'],
    [0, 1, 1, 'tile/0/001.p/1'],
    [0, 273, 112, 'tile/0/273.p/112'],
    [1, 1, 17, 'tile/1/001.p/17'],
    [3, 1234067, 256, 'tile/3/x001/x234/067'],
    [0, 1000, 255, 'tile/0/x001/000.p/255'],
    [63, Number.MAX_SAFE_INTEGER, 256, 'tile/63/x009/x007/x199/x254/x740/991'],
  ])('level %d, index %d, width %d is %s', (level, index, width, path) => {
    expect(tilePath(level, index, width)).toBe(path);
    expect(parseTilePath(path)).toEqual({ level, index, width });
  });

  test('a path leads back to its tile', () => {
    fc.assert(
      fc.property(fc.nat(63), fc.maxSafeNat(), fc.integer({ min: 1, max: 256 }), (level, index, width) => {
        expect(parseTilePath(tilePath(level, index, width))).toEqual({ level, index, width });
      }),
    );
  });

  test.each([
    'tile/0/0',
    'tile/00/000',
    'tile/64/000',
    'tile/-1/000',
    'tile/0/x000/001',
    'tile/0/001/x002',
    'tile/0/000.p/0',
    'tile/0/000.p/256',
    'tile/0/000.p/01',
    'tile/0/000.p/',
    'tile/0/000/',
    'tile/0/x999/x999/x999/x999/x999/999',
    '/tile/0/000',
    'tile/0/000\n',
    'tile/entries/000',
    '',
  ])('%j names no tile', (path) => {
    expect(parseTilePath(path)).toBeUndefined();
  });

  test.each([
    [64, 0, 1],
    [0, -1, 1],
    [0, 0, 0],
    [0, 0, 257],
    [0.5, 0, 1],
    [0, 2 ** 53, 1],
  ])('level %d, index %d, width %d has no path', (level, index, width) => {
    expect(() => tilePath(level, index, width)).toThrow(RangeError);
  });

  test('a tree of 256 leaves has one full tile, and one of width 1 above it', () => {
    expect([0, 1, 2].map((level) => tileWidthAt(256, level, 0))).toEqual([256, 1, 0]);
    expect(tileWidthAt(256, 0, 1)).toBe(0);
  });

  test('a tree of 70,000 leaves has the tiles that the specification counts', () => {
    const widths = (level: number): number[] => {
      const found: number[] = [];
      for (let index = 0; tileWidthAt(70_000, level, index) > 0; index += 1) {
        found.push(tileWidthAt(70_000, level, index));
      }
      return found;
    };
    expect(widths(0)).toEqual([...Array<number>(273).fill(256), 112]);
    expect(widths(1)).toEqual([256, 17]);
    expect(widths(2)).toEqual([1]);
    expect(widths(3)).toEqual([]);
  });
});

describe('entry bundles (C2SP tlog-tiles)', () => {
  test('their paths are those of the tiles of level 0, in one spelling', () => {
    expect(parseBundlePath('tile/entries/x001/x234/067.p/9')).toEqual({
      level: 0,
      index: 1_234_067,
      width: 9,
    });
    for (const path of [
      'tile/0/000',
      'tile/entries/0',
      'tile/entries/000.p/256',
      'tile/entries/0/000',
      'entries/000',
    ])
      expect(parseBundlePath(path)).toBeUndefined();
  });

  test('hold each entry behind its length', () => {
    const bundle = entryBundle([Buffer.from('ab'), Buffer.from(''), Buffer.alloc(258, 1)]);
    expect(hex(bundle.subarray(0, 10))).toBe('00026162' + '0000' + '0102' + '0101');
    expect(() => entryBundle([Buffer.alloc(65_536)])).toThrow(RangeError);
  });

  test('give back the entries that were put in, and are refused when cut', () => {
    const longest = new Uint8Array(65_535).fill(7);
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 20 }), (entries) => {
        const all = [longest, ...entries];
        const bundle = Buffer.concat([Buffer.alloc(3), entryBundle(all)]).subarray(3);
        expect(entriesOfBundle(bundle).map(hex)).toEqual(all.map(hex));
        expect(() => entriesOfBundle(bundle.subarray(0, 65_536))).toThrow(RangeError);
      }),
      { numRuns: 20 },
    );
    expect(() => entriesOfBundle(Buffer.alloc(1))).toThrow(RangeError);
    expect(entriesOfBundle(new Uint8Array(0))).toEqual([]);
  });
});

describe('tiles as a store keeps them', () => {
  const size = 66_000;
  const leaves = sampleLeaves(size);
  const roots = new Map<number, Uint8Array>([[0, Frontier.empty().root()]]);
  let completed: readonly CompletedTile[] = [];
  let store: TileReader;

  beforeAll(() => {
    const frontier = Frontier.empty();
    for (const leaf of leaves) {
      frontier.append(leaf);
      roots.set(frontier.size, frontier.root());
    }
    completed = growTree(Frontier.empty(), leaves).completed;
    store = tileStore(leaves, completed);
  });

  const rootAt = (at: number): Uint8Array => {
    const root = roots.get(at);
    if (root === undefined) throw new RangeError(`no root at ${at}`);
    return root;
  };

  test('each full tile gives the level above it one hash, once and in order', () => {
    const level1 = completed.filter(({ level }) => level === 1);
    const level2 = completed.filter(({ level }) => level === 2);
    expect(level1.map(({ index }) => index)).toEqual(Array.from({ length: 257 }, (_, index) => index));
    expect(level2.map(({ index }) => index)).toEqual([0]);
    expect(completed).toHaveLength(258);
    expect(hex(level1[0]?.hash ?? Buffer.alloc(0))).toBe(hex(rootAt(256)));
    expect(hex(level2[0]?.hash ?? Buffer.alloc(0))).toBe(hex(rootAt(65_536)));
  });

  test('growing in steps of any length stores the same hashes as growing at once', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 700 }), { minLength: 1, maxLength: 12 }), (steps) => {
        let frontier = Frontier.empty();
        const found: CompletedTile[] = [];
        for (const step of steps) {
          const before = hex(frontier.toBytes());
          const grown = growTree(frontier, leaves.slice(frontier.size, frontier.size + step));
          expect(hex(frontier.toBytes())).toBe(before);
          found.push(...grown.completed);
          frontier = grown.frontier;
        }
        const total = steps.reduce((sum, step) => sum + step, 0);
        expect(found).toEqual(growTree(Frontier.empty(), leaves.slice(0, total)).completed);
        expect(hex(frontier.root())).toBe(hex(rootAt(total)));
      }),
      { numRuns: 30 },
    );
  });

  test('the root of any size comes from the tiles', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 0, max: size }), async (at) => {
        expect(hex(await rootOf(tileHashReader(at, store), at))).toBe(hex(rootAt(at)));
      }),
      { examples: [[0], [1], [255], [256], [257], [65_536], [65_537], [size]] },
    );
  });

  test('any inclusion proof from tiles holds', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: size }), fc.nat(), async (at, which) => {
        const index = which % at;
        const proof = await inclusionProof(tileHashReader(at, store), index, at);
        verifyInclusion({
          index,
          size: at,
          leafHash: leaves[index] ?? Buffer.alloc(0),
          proof,
          root: rootAt(at),
        });
      }),
    );
  });

  test('any consistency proof from tiles holds', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: size }), fc.nat(), async (newSize, which) => {
        const oldSize = which % (newSize + 1);
        const proof = await consistencyProof(tileHashReader(newSize, store), oldSize, newSize);
        verifyConsistency({ oldSize, newSize, oldRoot: rootAt(oldSize), newRoot: rootAt(newSize), proof });
      }),
      {
        examples: [
          [65_536, 256],
          [65_537, 65_536],
          [size, 65_535],
        ],
      },
    );
  });

  test('a proof reads each tile once, in the width that it has in the tree', async () => {
    const read: string[] = [];
    const reader = tileHashReader(size, (level, index, width) => {
      read.push(tilePath(level, index, width));
      return store(level, index, width);
    });
    await inclusionProof(reader, 300, size);
    expect([...read].sort()).toEqual(['tile/0/001', 'tile/0/257.p/208', 'tile/1/000', 'tile/1/001.p/1']);
  });

  test('a tile of another length, and a hash that the tree does not have, are refused', async () => {
    const short = tileHashReader(300, () => Promise.resolve(Buffer.alloc(32)));
    await expect(short.readHashes(0, 0, 1)).rejects.toThrow('tile/0/000 came with 32 bytes');
    const reader = tileHashReader(300, store);
    await expect(reader.readHashes(0, 300, 1)).rejects.toThrow(RangeError);
    await expect(reader.readHashes(8, 1, 1)).rejects.toThrow(RangeError);
    await expect(reader.readHashes(5, 9, 1)).rejects.toThrow(RangeError);
    expect(await reader.readHashes(5, 7, 2)).toHaveLength(2);
  });

  test('what the store throws goes through', async () => {
    const broken = tileHashReader(300, () => Promise.reject(new Error('disk')));
    await expect(inclusionProof(broken, 1, 300)).rejects.toThrow('disk');
  });
});
