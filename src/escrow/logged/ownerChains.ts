import { createHash } from 'node:crypto';

import { parseCheckpoint } from '../../log/note/checkpoint.js';
import { Frontier, leafHash, sameBytes } from '../../log/tree/merkle.js';
import { parseNote } from '../../log/note/note.js';
import { EscrowError } from '../records/errors.js';
import type { LogReader } from '../ports/log.js';

/** All entries of the log about one owner, in its order: how many, and a digest that no other list of them has. */
export interface OwnerChain {
  readonly count: number;
  readonly digest: Uint8Array;
}

/** A tree of the log, by the signed checkpoint that has it. */
export interface ReadTree {
  readonly checkpoint: string;
  readonly size: number;
  readonly root: Uint8Array;
}

/** Entries read at a time: a page is decoded without a pause. */
const PAGE = 200;
const NOTHING: OwnerChain = { count: 0, digest: new Uint8Array(32) };

/** The chain with one more entry at its end: SHA-256 over the digest before, the index (uint64, big-endian) and the leaf hash. */
export function linked({ count, digest }: OwnerChain, index: number, leaf: Uint8Array): OwnerChain {
  const place = Buffer.alloc(8);
  place.writeBigUInt64BE(BigInt(index));
  return {
    count: count + 1,
    digest: createHash('sha256').update(digest).update(place).update(leaf).digest(),
  };
}

/** The chain of these entries, which are in the order of the log. */
export function chainOf(
  entries: Iterable<{ readonly index: number; readonly leaf: Uint8Array }>,
): OwnerChain {
  let chain = NOTHING;
  for (const { index, leaf } of entries) chain = linked(chain, index, leaf);
  return chain;
}

/** Whether two lists are the same. */
export function isSameChain(a: OwnerChain, b: OwnerChain): boolean {
  return a.count === b.count && sameBytes(a.digest, b.digest);
}

/**
 * What the log has about each owner, from every entry of it, in order, read under the tree that a checkpoint has: no index
 * and no query decides what is in it. Each entry is read once; what is kept is one digest for each owner, and the frontier of
 * the tree.
 */
export class OwnerChains {
  readonly #log: Pick<LogReader, 'entries'>;
  #tree = Frontier.empty();
  #chains = new Map<string, OwnerChain>();
  #last: ReadTree | undefined;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(log: Pick<LogReader, 'entries'>) {
    this.#log = log;
  }

  /**
   * The chain of an owner in the tree of the checkpoint that `newest` gives when it is this call's turn, or of the newest that
   * was read before, should that be an older one. The first call reads the whole log, later ones what has come since.
   *
   * @throws EscrowError `history-incomplete` when the entries that the database gives are not those of that tree
   */
  of(
    owner: string,
    newest: () => Promise<string>,
  ): Promise<{ readonly chain: OwnerChain; readonly tree: ReadTree }> {
    const turn = this.#turn.then(async () => {
      const given = treeOf(await newest());
      const tree = this.#last !== undefined && this.#last.size > given.size ? this.#last : given;
      await this.#readTo(tree);
      this.#last = tree;
      return { chain: this.#chains.get(owner) ?? NOTHING, tree };
    });
    this.#turn = turn.catch(() => undefined);
    return turn;
  }

  async #readTo({ size, root }: ReadTree): Promise<void> {
    // more was read for a call that got no answer
    if (size < this.#tree.size) this.#forget();
    try {
      while (this.#tree.size < size) await this.#readPage(size);
      if (!sameBytes(this.#tree.root(), root))
        throw incomplete('the entries are not those of the signed tree');
    } catch (error) {
      // what was read so far is under no tree yet: when it is not what was signed, nothing goes on from it
      if (error instanceof EscrowError && error.code === 'history-incomplete') this.#forget();
      throw error;
    }
  }

  #forget(): void {
    this.#tree = Frontier.empty();
    this.#chains = new Map();
    this.#last = undefined;
  }

  async #readPage(size: number): Promise<void> {
    const page = await this.#log.entries(this.#tree.size, Math.min(PAGE, size - this.#tree.size));
    if (page.length === 0) throw incomplete('entries are missing that the signed tree has');
    for (const { index, entry } of page) {
      if (index !== this.#tree.size) throw incomplete(`entry ${this.#tree.size} is missing`);
      const leaf = leafHash(entry);
      this.#tree.append(leaf);
      const owner = ownerOf(entry);
      if (owner !== undefined)
        this.#chains.set(owner, linked(this.#chains.get(owner) ?? NOTHING, index, leaf));
    }
  }
}

function treeOf(checkpoint: string): ReadTree {
  const { size, root } = parseCheckpoint(parseNote(checkpoint).text);
  return { checkpoint, size, root };
}

/** Said of the database: a fault, with the reason for the operators. */
export function incomplete(reason: string): EscrowError {
  return new EscrowError('history-incomplete', undefined, { cause: new Error(reason) });
}

/** Bytes that are no entry are about nobody here; under the tree there are none. */
function ownerOf(entry: Uint8Array): string | undefined {
  try {
    const { subject } = JSON.parse(Buffer.from(entry).toString('utf8')) as {
      readonly subject?: { readonly owner?: unknown };
    };
    return typeof subject?.owner === 'string' ? subject.owner : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}
