import { emptyRoot, hashLengthBytes, nodeHash, sameBytes } from './merkle.js';

/**
 * Why a proof was refused: `bad-input` when sizes, index or hash lengths make no sense, `bad-length` when
 * the proof has too few or too many hashes, `root-mismatch` when it leads to another root.
 */
export type ProofFault = 'bad-input' | 'bad-length' | 'root-mismatch';

/**
 * A proof that does not hold. Thrown rather than returned, so that a result nobody looked at never passes.
 */
export class ProofError extends Error {
  override readonly name = 'ProofError';

  constructor(
    readonly fault: ProofFault,
    message: string,
  ) {
    super(message);
  }
}

/** The claim that the leaf at `index` of the tree with `size` leaves and `root` has the hash `leafHash`. */
export interface InclusionClaim {
  readonly index: number;
  readonly size: number;
  readonly leafHash: Uint8Array;
  /** The siblings on the way from the leaf to the root, RFC 6962 section 2.1.1. */
  readonly proof: readonly Uint8Array[];
  readonly root: Uint8Array;
}

/** The claim that the tree of `newSize` leaves begins with all the leaves of the tree of `oldSize`. */
export interface ConsistencyClaim {
  readonly oldSize: number;
  readonly newSize: number;
  readonly oldRoot: Uint8Array;
  readonly newRoot: Uint8Array;
  /** RFC 6962 section 2.1.2. Empty when the sizes are equal or the old tree has no leaves. */
  readonly proof: readonly Uint8Array[];
}

/**
 * Checks an inclusion proof (RFC 6962 section 2.1.1) by the algorithm of RFC 9162 section 2.1.3.2, and
 * returns only if it holds.
 * @throws ProofError
 */
export function verifyInclusion({ index, size, leafHash, proof, root }: InclusionClaim): void {
  checkNumber(index);
  checkNumber(size);
  checkHashes([leafHash, root, ...proof]);
  if (index >= size) throw new ProofError('bad-input', `a tree of ${size} leaves has no leaf ${index}`);
  let node = index;
  let last = size - 1;
  let hash = leafHash;
  for (const sibling of proof) {
    if (last === 0) throw tooLong();
    if (isOdd(node) || node === last) {
      hash = nodeHash(sibling, hash);
      for (; !isOdd(node) && node !== 0; node = parent(node)) last = parent(last);
    } else {
      hash = nodeHash(hash, sibling);
    }
    node = parent(node);
    last = parent(last);
  }
  if (last !== 0) throw tooShort();
  checkRoot(hash, root);
}

/**
 * Checks a consistency proof (RFC 6962 section 2.1.2) by the algorithm of RFC 9162 section 2.1.4.2, and
 * returns only if it holds. Every tree extends the empty one; its root must be {@link emptyRoot} all the
 * same.
 * @throws ProofError
 */
export function verifyConsistency({ oldSize, newSize, oldRoot, newRoot, proof }: ConsistencyClaim): void {
  checkNumber(oldSize);
  checkNumber(newSize);
  checkHashes([oldRoot, newRoot, ...proof]);
  if (newSize < oldSize)
    throw new ProofError('bad-input', `a tree of ${newSize} leaves does not extend one of ${oldSize}`);
  if (oldSize === 0 || oldSize === newSize) {
    if (proof.length > 0) throw tooLong();
    if (oldSize === 0) checkRoot(oldRoot, emptyRoot);
    if (oldSize === newSize) checkRoot(newRoot, oldRoot);
    return;
  }
  const [first, ...rest] = isPowerOfTwo(oldSize) ? [oldRoot, ...proof] : proof;
  if (first === undefined) throw tooShort();
  let node = oldSize - 1;
  let last = newSize - 1;
  for (; isOdd(node); node = parent(node)) last = parent(last);
  let oldHash = first;
  let newHash = first;
  for (const sibling of rest) {
    if (last === 0) throw tooLong();
    if (isOdd(node) || node === last) {
      oldHash = nodeHash(sibling, oldHash);
      newHash = nodeHash(sibling, newHash);
      for (; !isOdd(node) && node !== 0; node = parent(node)) last = parent(last);
    } else {
      newHash = nodeHash(newHash, sibling);
    }
    node = parent(node);
    last = parent(last);
  }
  if (last !== 0) throw tooShort();
  checkRoot(oldHash, oldRoot);
  checkRoot(newHash, newRoot);
}

/** The arithmetic is that of safe integers; bit operators would stop at 32 bits. */
const isOdd = (node: number): boolean => node % 2 === 1;
const parent = (node: number): number => Math.floor(node / 2);
const isPowerOfTwo = (size: number): boolean => {
  let rest = size;
  while (!isOdd(rest)) rest /= 2;
  return rest === 1;
};

const tooLong = (): ProofError => new ProofError('bad-length', 'the proof has too many hashes');
const tooShort = (): ProofError => new ProofError('bad-length', 'the proof has too few hashes');

function checkNumber(value: number): void {
  if (!Number.isSafeInteger(value) || value < 0)
    throw new ProofError('bad-input', 'sizes and indexes are safe integers');
}

function checkHashes(hashes: readonly Uint8Array[]): void {
  if (hashes.some(({ length }) => length !== hashLengthBytes))
    throw new ProofError('bad-input', 'hashes have 32 bytes');
}

function checkRoot(computed: Uint8Array, expected: Uint8Array): void {
  if (!sameBytes(computed, expected))
    throw new ProofError('root-mismatch', 'the proof leads to another root');
}
