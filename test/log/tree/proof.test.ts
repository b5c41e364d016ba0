import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { emptyRoot } from '../../../src/log/tree/merkle.js';
import {
  ProofError,
  verifyConsistency,
  verifyInclusion,
  type ConsistencyClaim,
  type InclusionClaim,
} from '../../../src/log/tree/proof.js';
import { consistencyProof, inclusionProof } from '../../../src/log/tree/prover.js';
import { leafReader, referenceRoot, sampleLeaves } from '../sampleTree.js';

interface Vector {
  readonly wantErr: boolean;
  readonly proof: readonly string[] | null;
}
interface InclusionVector extends Vector {
  readonly leafIdx: number;
  readonly treeSize: number;
  readonly root: string;
  readonly leafHash: string;
}
interface ConsistencyVector extends Vector {
  readonly size1: number;
  readonly size2: number;
  readonly root1: string;
  readonly root2: string;
}

interface VectorKinds {
  readonly inclusion: InclusionVector;
  readonly consistency: ConsistencyVector;
}

function vectors<K extends keyof VectorKinds>(kind: K): readonly (readonly [string, VectorKinds[K]])[] {
  const folder = join(__dirname, '../../vectors/merkle', kind);
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.json'))
    .map((file) => [file, JSON.parse(readFileSync(join(folder, file), 'utf8')) as VectorKinds[K]] as const);
}

const bytes = (base64: string): Uint8Array => Buffer.from(base64, 'base64');
const accepted = (check: () => void): boolean => {
  try {
    check();
    return true;
  } catch (error) {
    if (error instanceof ProofError) return false;
    throw error;
  }
};

const maximumSize = 70;
const leaves = sampleLeaves(maximumSize);
const reader = leafReader(leaves);
const roots = Array.from({ length: maximumSize + 1 }, (_, size) => referenceRoot(leaves.slice(0, size)));
const at = <T>(list: readonly T[], index: number): T => {
  const item = list[index];
  if (item === undefined) throw new RangeError(`nothing at ${index}`);
  return item;
};

async function inclusionClaim(index: number, size: number): Promise<InclusionClaim> {
  const proof = await inclusionProof(reader, index, size);
  return { index, size, leafHash: at(leaves, index), proof, root: at(roots, size) };
}

async function consistencyClaim(oldSize: number, newSize: number): Promise<ConsistencyClaim> {
  const proof = await consistencyProof(reader, oldSize, newSize);
  return { oldSize, newSize, oldRoot: at(roots, oldSize), newRoot: at(roots, newSize), proof };
}

/** The same bytes but for one bit. */
function flipped(hash: Uint8Array, bit: number): Uint8Array {
  const changed = Buffer.from(hash);
  changed.writeUInt8(changed.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
  return changed;
}

const anyBit = fc.nat(255);
const anyPair = fc.tuple(fc.nat(maximumSize - 1), fc.nat(maximumSize - 1)).map(([a, b]) => {
  return { low: Math.min(a, b), high: Math.max(a, b) + 1 };
});

describe('published vectors (transparency-dev/merkle)', () => {
  test('they are all here', () => {
    expect(vectors('inclusion')).toHaveLength(33);
    expect(vectors('consistency')).toHaveLength(41);
  });

  test.each(vectors('inclusion'))('inclusion: %s', (_file, vector) => {
    const claim = {
      index: vector.leafIdx,
      size: vector.treeSize,
      leafHash: bytes(vector.leafHash),
      proof: (vector.proof ?? []).map(bytes),
      root: bytes(vector.root),
    };
    expect(
      accepted(() => {
        verifyInclusion(claim);
      }),
    ).toBe(!vector.wantErr);
  });

  test.each(vectors('consistency'))('consistency: %s', (_file, vector) => {
    const claim = {
      oldSize: vector.size1,
      newSize: vector.size2,
      oldRoot: bytes(vector.root1),
      newRoot: bytes(vector.root2),
      proof: (vector.proof ?? []).map(bytes),
    };
    expect(
      accepted(() => {
        verifyConsistency(claim);
      }),
    ).toBe(!vector.wantErr);
  });
});

describe('inclusion', () => {
  test('the proof of every leaf in every tree holds', async () => {
    for (let size = 1; size <= maximumSize; size += 1) {
      for (let index = 0; index < size; index += 1) verifyInclusion(await inclusionClaim(index, size));
    }
  });

  test('a proof holds for no other leaf, index or root, nor with any bit changed or any hash more or less', async () => {
    await fc.assert(
      fc.asyncProperty(anyPair, anyBit, fc.nat(), async ({ low, high }, bit, which) => {
        const claim = await inclusionClaim(low, high);
        const { proof } = claim;
        const spot = proof.length === 0 ? 0 : which % proof.length;
        const others: InclusionClaim[] = [
          { ...claim, leafHash: flipped(claim.leafHash, bit) },
          { ...claim, root: flipped(claim.root, bit) },
          { ...claim, proof: [...proof, claim.root] },
          { ...claim, proof: [claim.leafHash, ...proof] },
          { ...claim, index: high },
        ];
        if (proof.length > 0) {
          others.push({ ...claim, proof: proof.map((hash, i) => (i === spot ? flipped(hash, bit) : hash)) });
          others.push({ ...claim, proof: proof.slice(1) }, { ...claim, proof: proof.slice(0, -1) });
        }
        if (high > 1) others.push({ ...claim, index: low === 0 ? low + 1 : low - 1 });
        for (const other of others)
          expect(() => {
            verifyInclusion(other);
          }).toThrow(ProofError);
      }),
    );
  });

  test('there is no proof for a leaf that the tree does not have', async () => {
    await expect(inclusionProof(reader, 3, 3)).rejects.toThrow(RangeError);
    await expect(inclusionProof(reader, 0, 0)).rejects.toThrow(RangeError);
    await expect(inclusionProof(reader, -1, 3)).rejects.toThrow(RangeError);
    await expect(inclusionProof(reader, 0.5, 3)).rejects.toThrow(RangeError);
  });

  test('sizes beyond 2^32 keep their arithmetic', async () => {
    const size = 2 ** 45 + 5;
    const same = { readHashes: () => Promise.resolve([Buffer.alloc(32, 7)]) };
    const proof = await inclusionProof(same, 2 ** 45 + 1, size);
    expect(proof).toHaveLength(4);
    expect(await inclusionProof(same, 1, size)).toHaveLength(46);
  });
});

describe('consistency', () => {
  test('the proof between any two sizes holds', async () => {
    for (let newSize = 0; newSize <= maximumSize; newSize += 1) {
      for (let oldSize = 0; oldSize <= newSize; oldSize += 1) {
        verifyConsistency(await consistencyClaim(oldSize, newSize));
      }
    }
  });

  test('a proof holds for no other size or root, nor with any bit changed or any hash more or less', async () => {
    await fc.assert(
      fc.asyncProperty(anyPair, anyBit, fc.nat(), async ({ low, high }, bit, which) => {
        const claim = await consistencyClaim(low, high);
        const { proof } = claim;
        const spot = proof.length === 0 ? 0 : which % proof.length;
        const others: ConsistencyClaim[] = [
          { ...claim, oldRoot: flipped(claim.oldRoot, bit) },
          { ...claim, proof: [...proof, claim.newRoot] },
          { ...claim, oldSize: high + 1 },
        ];
        if (low > 0)
          others.push({ ...claim, newRoot: flipped(claim.newRoot, bit) }, { ...claim, oldSize: low - 1 });
        if (proof.length > 0) {
          others.push({ ...claim, proof: proof.map((hash, i) => (i === spot ? flipped(hash, bit) : hash)) });
          others.push({ ...claim, proof: proof.slice(1) }, { ...claim, proof: proof.slice(0, -1) });
        }
        for (const other of others)
          expect(() => {
            verifyConsistency(other);
          }).toThrow(ProofError);
      }),
    );
  });

  test('a fork has no proof: another leaf anywhere in the old tree is found', async () => {
    await fc.assert(
      fc.asyncProperty(anyPair, fc.nat(), async ({ low, high }, which) => {
        fc.pre(low > 0);
        const forked = leaves.slice(0, high);
        forked[which % low] = Buffer.alloc(32, 9);
        const proof = await consistencyProof(leafReader(forked), low, high);
        const claim = {
          oldSize: low,
          newSize: high,
          oldRoot: at(roots, low),
          newRoot: referenceRoot(forked),
          proof,
        };
        expect(() => {
          verifyConsistency(claim);
        }).toThrow(ProofError);
      }),
    );
  });

  test('the faults are told apart', async () => {
    const claim = await consistencyClaim(3, 7);
    const faultOf = (changed: Partial<ConsistencyClaim>): unknown => {
      try {
        verifyConsistency({ ...claim, ...changed });
        return 'none';
      } catch (error) {
        return error instanceof ProofError ? error.fault : error;
      }
    };
    expect(faultOf({})).toBe('none');
    expect(faultOf({ oldSize: 8 })).toBe('bad-input');
    expect(faultOf({ oldSize: 0.5 })).toBe('bad-input');
    expect(faultOf({ oldRoot: Buffer.alloc(31) })).toBe('bad-input');
    expect(faultOf({ proof: [] })).toBe('bad-length');
    expect(faultOf({ newRoot: emptyRoot })).toBe('root-mismatch');
  });

  test('the empty tree has one root only', () => {
    const claim = { oldSize: 0, newSize: 1, newRoot: at(roots, 1), proof: [] };
    verifyConsistency({ ...claim, oldRoot: emptyRoot });
    expect(() => {
      verifyConsistency({ ...claim, oldRoot: at(roots, 1) });
    }).toThrow(ProofError);
  });

  test('there is no proof back in time', async () => {
    await expect(consistencyProof(reader, 4, 3)).rejects.toThrow(RangeError);
  });
});
