import { hash } from 'node:crypto';

/** The length in bytes of every hash in the tree: SHA-256. */
export const hashLengthBytes = 32;

/** The root of the tree without leaves, RFC 6962 section 2.1: the hash of nothing. */
export const emptyRoot: Uint8Array = sha256(new Uint8Array(0));

/**
 * The hash of a leaf, RFC 6962 section 2.1: SHA-256(0x00 || `entry`).
 * @param entry the exact bytes of the log entry
 */
export function leafHash(entry: Uint8Array): Uint8Array {
  if (entry.length >= scratch.length) return sha256(Buffer.concat([Buffer.of(0), entry]));
  scratch[0] = 0;
  scratch.set(entry, 1);
  return sha256(scratch.subarray(0, 1 + entry.length));
}

/** Where inputs are put together, for entries of usual length: hashing them takes no longer than making an array for each. */
const scratch = new Uint8Array(4096);

/**
 * The hash of an inner node over its children's hashes, RFC 6962 section 2.1: SHA-256(0x01 || left ||
 * right).
 * @throws RangeError on a hash that is not 32 bytes
 */
export function nodeHash(left: Uint8Array, right: Uint8Array): Uint8Array {
  checkHash(left);
  checkHash(right);
  node[0] = 1;
  node.set(left, 1);
  node.set(right, 1 + hashLengthBytes);
  return sha256(node);
}

/** Where the input of {@link nodeHash} is put together. */
const node = new Uint8Array(1 + 2 * hashLengthBytes);

/**
 * The right edge of a Merkle tree (RFC 6962 section 2.1): its size, and the hashes of the complete subtrees
 * that it consists of, largest first, one for each bit set in the size. That is all one needs to append
 * leaves and to compute roots; at most 53 hashes. Not shared between callers: {@link append} changes it, so
 * {@link copy} it where a change may have to be taken back.
 */
export class Frontier {
  #size: number;
  readonly #subtrees: Uint8Array[];

  private constructor(size: number, subtrees: Uint8Array[]) {
    this.#size = size;
    this.#subtrees = subtrees;
  }

  /** The frontier of the tree without leaves. */
  static empty(): Frontier {
    return new Frontier(0, []);
  }

  /**
   * Reads what {@link toBytes} wrote.
   * @throws RangeError when the length does not fit the size, or the size is beyond 2^53 - 1.
   */
  static fromBytes(bytes: Uint8Array): Frontier {
    if (bytes.length < 8) throw new RangeError('a frontier has at least the eight bytes of its size');
    const size = Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0));
    if (!Number.isSafeInteger(size)) throw new RangeError('the size of the tree is a safe integer');
    if (bytes.length !== 8 + onesIn(size) * hashLengthBytes) {
      throw new RangeError('a frontier has one hash for each bit set in its size');
    }
    // A copy, so that the caller may use its memory again; the `slice` of a Buffer would not be one.
    const hashes = Uint8Array.from(bytes.subarray(8));
    const subtrees: Uint8Array[] = [];
    for (let at = 0; at < hashes.length; at += hashLengthBytes) {
      subtrees.push(hashes.subarray(at, at + hashLengthBytes));
    }
    return new Frontier(size, subtrees);
  }

  /**
   * The frontier of a tree of `size` leaves with these complete subtrees, largest first.
   * @throws RangeError unless there is one subtree for each bit set in the size.
   */
  static of(size: number, subtrees: readonly Uint8Array[]): Frontier {
    if (subtrees.length !== onesIn(size))
      throw new RangeError('a frontier has one hash for each bit set in its size');
    subtrees.forEach(checkHash);
    return new Frontier(size, [...subtrees]);
  }

  /** The number of leaves. */
  get size(): number {
    return this.#size;
  }

  /**
   * Appends the leaf with this hash.
   * @returns the hashes of the subtrees which this leaf completes, by height: the leaf itself first, then
   *   the subtree of two leaves if it is complete now, and so on. The one at height `h` has the index `size
   *   / 2^h - 1` among the complete subtrees of its height, `size` being the new size.
   * @throws RangeError on a hash that is not 32 bytes, or on a tree of 2^53 - 1 leaves.
   */
  append(leaf: Uint8Array): readonly Uint8Array[] {
    checkHash(leaf);
    if (this.#size >= Number.MAX_SAFE_INTEGER) throw new RangeError('the tree is full');
    const completed = [leaf];
    let subtree = leaf;
    for (let left = this.#size; left % 2 === 1; left = (left - 1) / 2) {
      const sibling = this.#subtrees.pop();
      if (sibling === undefined) throw new RangeError('the frontier lacks a subtree');
      subtree = nodeHash(sibling, subtree);
      completed.push(subtree);
    }
    this.#subtrees.push(subtree);
    this.#size += 1;
    return completed;
  }

  /** The root of the tree, RFC 6962 section 2.1. */
  root(): Uint8Array {
    return foldSubtrees(this.#subtrees);
  }

  /** A frontier with the same tree, which changes on its own. */
  copy(): Frontier {
    return new Frontier(this.#size, [...this.#subtrees]);
  }

  /** The size as eight bytes, big-endian, then the hashes of the subtrees, largest first. */
  toBytes(): Uint8Array {
    const bytes = new Uint8Array(8 + this.#subtrees.length * hashLengthBytes);
    new DataView(bytes.buffer).setBigUint64(0, BigInt(this.#size));
    this.#subtrees.forEach((subtree, at) => {
      bytes.set(subtree, 8 + at * hashLengthBytes);
    });
    return bytes;
  }
}

/**
 * The root over adjacent complete subtrees, largest first: RFC 6962 section 2.1 splits at the largest power
 * of two, so they are joined from the right.
 * @returns the root, or {@link emptyRoot} of no subtrees
 */
export function foldSubtrees(subtrees: readonly Uint8Array[]): Uint8Array {
  if (subtrees.length === 0) return emptyRoot;
  return subtrees.reduceRight((right, left) => nodeHash(left, right));
}

/** Whether two hashes, or other byte strings, are the same. */
export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, at) => byte === b[at]);
}

function checkHash(bytes: Uint8Array): void {
  if (bytes.length !== hashLengthBytes) throw new RangeError('a hash has 32 bytes');
}

/** The number of bits set in a safe integer; bit operators would stop at 32. */
function onesIn(size: number): number {
  let ones = 0;
  for (let rest = size; rest > 0; rest = Math.floor(rest / 2)) ones += rest % 2;
  return ones;
}

/**
 * SHA-256. One-shot hashing into a string is several times faster than createHash for such short inputs.
 */
export function sha256(input: Uint8Array): Uint8Array {
  return Buffer.from(hash('sha256', input, 'binary'), 'binary');
}
