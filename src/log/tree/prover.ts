import { foldSubtrees, Frontier } from './merkle.js';

/**
 * Where proofs get their hashes from. What it returns is trusted; a wrong hash makes a proof that does not
 * verify.
 */
export interface HashReader {
  /**
   * The hashes of `count` adjacent complete subtrees of 2^`level` leaves each, from the `first`-th on: the
   * subtree `i` spans the leaves from `i * 2^level` up to `(i + 1) * 2^level`. Level 0 are the leaf hashes.
   */
  readHashes(level: number, first: number, count: number): Promise<readonly Uint8Array[]>;
}

/**
 * The proof that the leaf at `index` is in the tree of the first `size` leaves: PATH of RFC 6962 section
 * 2.1.1, from the leaf's sibling up.
 * @throws RangeError when the tree has no such leaf; what the reader throws goes through.
 */
export async function inclusionProof(
  reader: HashReader,
  index: number,
  size: number,
): Promise<readonly Uint8Array[]> {
  checkSize(index);
  checkSize(size);
  if (index >= size) throw new RangeError(`a tree of ${size} leaves has no leaf ${index}`);
  return rootsOf(reader, inclusionPath(index, { start: 0, end: size }));
}

/**
 * The proof that the tree of the first `newSize` leaves extends that of the first `oldSize`: PROOF of RFC
 * 6962 section 2.1.2. Empty when the sizes are equal or the old tree has no leaves, as nothing is to be
 * shown then.
 * @throws RangeError when the new tree is the smaller one; what the reader throws goes through.
 */
export async function consistencyProof(
  reader: HashReader,
  oldSize: number,
  newSize: number,
): Promise<readonly Uint8Array[]> {
  checkSize(oldSize);
  checkSize(newSize);
  if (oldSize > newSize)
    throw new RangeError(`a tree of ${newSize} leaves does not extend one of ${oldSize}`);
  if (oldSize === 0) return [];
  return rootsOf(reader, consistencyPath(oldSize, { start: 0, end: newSize }, true));
}

/**
 * The root of the tree of the first `size` leaves, RFC 6962 section 2.1.
 * @throws RangeError when `size` is not a size; what the reader throws goes through.
 */
export async function rootOf(reader: HashReader, size: number): Promise<Uint8Array> {
  checkSize(size);
  return rootOfSpan(reader, { start: 0, end: size });
}

/**
 * The frontier of the tree of the first `size` leaves, to be grown from there.
 * @throws RangeError when `size` is not a size; what the reader throws goes through.
 */
export async function frontierOf(reader: HashReader, size: number): Promise<Frontier> {
  checkSize(size);
  return Frontier.of(size, await Promise.all(subtreesOf(reader, { start: 0, end: size })));
}

/**
 * The leaves D[start:end] of RFC 6962, not empty. `start` is a multiple of a power of two that is at least
 * its length.
 */
interface Span {
  readonly start: number;
  readonly end: number;
}

/** PATH(m, D[n]), RFC 6962 section 2.1.1: the subtrees whose roots are the proof. */
function inclusionPath(index: number, span: Span): readonly Span[] {
  if (span.end - span.start === 1) return [];
  const [left, right] = split(span);
  return index < left.end ? [...inclusionPath(index, left), right] : [...inclusionPath(index, right), left];
}

/**
 * SUBPROOF(m, D[n], b), RFC 6962 section 2.1.2. `known` is b: whether the span is the whole old tree, whose
 * root the verifier has.
 */
function consistencyPath(oldSize: number, span: Span, known: boolean): readonly Span[] {
  if (oldSize === span.end) return known ? [] : [span];
  const [left, right] = split(span);
  return oldSize <= left.end
    ? [...consistencyPath(oldSize, left, known), right]
    : [...consistencyPath(oldSize, right, false), left];
}

/** RFC 6962 section 2.1 splits at the largest power of two smaller than the number of leaves. */
function split({ start, end }: Span): readonly [Span, Span] {
  const half = largestPowerOfTwo(end - start - 1);
  return [
    { start, end: start + half },
    { start: start + half, end },
  ];
}

/** The largest power of two that is at most `limit` (at least 1); bit operators would stop at 32 bits. */
function largestPowerOfTwo(limit: number): number {
  let power = 1;
  while (power * 2 <= limit) power *= 2;
  return power;
}

/** The height of a complete subtree with this many leaves. */
function heightOf(leaves: number): number {
  let height = 0;
  for (let span = 1; span < leaves; span *= 2) height += 1;
  return height;
}

async function rootsOf(reader: HashReader, spans: readonly Span[]): Promise<readonly Uint8Array[]> {
  return Promise.all(spans.map((span) => rootOfSpan(reader, span)));
}

/**
 * The root of a span from the complete subtrees that it consists of, of which only the right edge has many.
 */
async function rootOfSpan(reader: HashReader, span: Span): Promise<Uint8Array> {
  return foldSubtrees(await Promise.all(subtreesOf(reader, span)));
}

function subtreesOf(reader: HashReader, { start, end }: Span): readonly Promise<Uint8Array>[] {
  const reads: Promise<Uint8Array>[] = [];
  for (let at = start; at < end;) {
    const leaves = largestPowerOfTwo(end - at);
    reads.push(readHash(reader, heightOf(leaves), at / leaves));
    at += leaves;
  }
  return reads;
}

async function readHash(reader: HashReader, level: number, index: number): Promise<Uint8Array> {
  const [hash] = await reader.readHashes(level, index, 1);
  if (hash === undefined) throw new RangeError(`no hash was read at level ${level}, index ${index}`);
  return hash;
}

function checkSize(value: number): void {
  if (!Number.isSafeInteger(value) || value < 0) throw new RangeError('sizes and indexes are safe integers');
}
