import fc from 'fast-check';
import { emptyRoot, Frontier, leafHash } from '../../../src/log/tree/merkle.js';
import { hex, referenceRoot, sampleLeaves } from '../sampleTree.js';

/** The leaves that certificate-transparency's own tests hash, and the root after each of them. */
const knownRoots: readonly (readonly [leaf: string, root: string])[] = [
  ['', '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d'],
  ['00', 'fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125'],
  ['10', 'aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77'],
  ['2021', 'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7'],
  ['3031', '4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4'],
  ['40414243', '76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef'],
  ['5051525354555657', 'ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c'],
  ['606162636465666768696a6b6c6d6e6f', '5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328'],
];

describe('the Merkle tree of RFC 6962', () => {
  test('the empty tree has the hash of nothing as its root', () => {
    expect(hex(emptyRoot)).toBe('e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855');
    expect(hex(Frontier.empty().root())).toBe(hex(emptyRoot));
  });

  test('the known leaves have the known roots', () => {
    const frontier = Frontier.empty();
    const roots = knownRoots.map(([leaf]) => {
      frontier.append(leafHash(Buffer.from(leaf, 'hex')));
      return hex(frontier.root());
    });
    expect(roots).toEqual(knownRoots.map(([, root]) => root));
  });

  test('the frontier has the root that the definition gives, at every size', () => {
    const leaves = sampleLeaves(300);
    const frontier = Frontier.empty();
    leaves.forEach((leaf, index) => {
      frontier.append(leaf);
      expect(hex(frontier.root())).toBe(hex(referenceRoot(leaves.slice(0, index + 1))));
    });
  });

  test('a leaf completes just the subtrees that end with it', () => {
    const leaves = sampleLeaves(64);
    const frontier = Frontier.empty();
    leaves.forEach((leaf, index) => {
      frontier.append(leaf).forEach((subtree, height) => {
        const start = (frontier.size / 2 ** height - 1) * 2 ** height;
        expect(start + 2 ** height).toBe(index + 1);
        expect(hex(subtree)).toBe(hex(referenceRoot(leaves.slice(start, index + 1))));
      });
    });
  });

  test('a frontier goes through bytes unchanged, and goes on growing', () => {
    fc.assert(
      fc.property(fc.nat(600), fc.nat(40), (size, more) => {
        const leaves = sampleLeaves(size + more);
        const frontier = Frontier.empty();
        for (const leaf of leaves.slice(0, size)) frontier.append(leaf);
        const bytes = Buffer.concat([Buffer.alloc(3), frontier.toBytes()]).subarray(3);
        const restored = Frontier.fromBytes(bytes);
        for (const leaf of leaves.slice(size)) restored.append(leaf);
        expect(frontier.size).toBe(size);
        expect(hex(restored.root())).toBe(hex(referenceRoot(leaves)));
      }),
      { numRuns: 30 },
    );
  });

  test('a frontier keeps nothing of the memory that it was read from', () => {
    const frontier = Frontier.empty();
    for (const leaf of sampleLeaves(5)) frontier.append(leaf);
    const memory = Buffer.from(frontier.toBytes());
    const restored = Frontier.fromBytes(memory);
    memory.fill(0);
    expect(hex(restored.root())).toBe(hex(frontier.root()));
  });

  test('a copy grows on its own', () => {
    const frontier = Frontier.empty();
    for (const leaf of sampleLeaves(5)) frontier.append(leaf);
    const before = hex(frontier.toBytes());
    frontier.copy().append(leafHash(Buffer.from('another')));
    expect(hex(frontier.toBytes())).toBe(before);
  });

  test.each<[string, Uint8Array]>([
    ['nothing', new Uint8Array(0)],
    ['a size without its hashes', Buffer.from('0000000000000003', 'hex')],
    ['a hash too many', Buffer.concat([Buffer.from('0000000000000001', 'hex'), Buffer.alloc(64)])],
    ['half a hash', Buffer.concat([Buffer.from('0000000000000001', 'hex'), Buffer.alloc(16)])],
    ['a size beyond 2^53 - 1', Buffer.concat([Buffer.from('0020000000000000', 'hex'), Buffer.alloc(32)])],
  ])('%s is not a frontier', (_name, bytes) => {
    expect(() => Frontier.fromBytes(bytes)).toThrow(RangeError);
  });

  test('sizes beyond 2^32 keep their arithmetic', () => {
    const size = 2 ** 40 + 2 ** 33 + 1;
    const bytes = Buffer.concat([
      Buffer.alloc(8),
      Buffer.alloc(32, 1),
      Buffer.alloc(32, 2),
      Buffer.alloc(32, 3),
    ]);
    bytes.writeBigUInt64BE(BigInt(size));
    const frontier = Frontier.fromBytes(bytes);
    expect(frontier.append(Buffer.alloc(32, 4))).toHaveLength(2);
    expect(frontier.size).toBe(size + 1);
    expect(frontier.toBytes()).toHaveLength(8 + 3 * 32);
  });

  test('a leaf hash has 32 bytes', () => {
    expect(() => Frontier.empty().append(Buffer.alloc(31))).toThrow(RangeError);
  });
});
