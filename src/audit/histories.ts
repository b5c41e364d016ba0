import { createHash } from 'node:crypto';

import { z } from 'zod';

import { type HistoryFilter, isInHistory } from '../escrow/records/ownerHistory.js';
import { historyFilter } from '../client/history/historyStatement.js';
import { encodeBase64 } from '../log/note/base64.js';
import { type Entry, parseEntry } from '../log/entry/entry.js';
import { lineKind } from '../log/export/format.js';
import { type Line, LineSplitter } from '../log/export/lines.js';
import { Frontier, leafHash } from '../log/tree/merkle.js';

const count = z.int().min(0);
const saidSchema = z.object({
  filter: historyFilter,
  checkpoint: z.object({ size: count, root: z.string() }),
  count,
  list: z.string(),
});

/** A statement that a history is complete, as the entry says that attempts it. */
interface Said extends z.infer<typeof saidSchema> {
  readonly index: number;
  readonly owner: string;
}

/**
 * Takes note of every statement that a history is complete, for {@link HistoryRecount} to check them when the export is
 * known to be true to the log.
 */
export class HistoryEvidence {
  readonly statements: Said[] = [];

  /** Why this entry is refused, if it is. */
  check({ act, phase, actor, subject, detail }: Entry, index: number): string | undefined {
    if (act !== 'history.attest' || phase !== 'attempted') return undefined;
    const said = saidSchema.safeParse(detail);
    if (!said.success || subject.owner !== actor || said.data.checkpoint.size > index) {
      return 'a history is said to be complete, and not which';
    }
    this.statements.push({ ...said.data, index, owner: actor });
    return undefined;
  }
}

/** A statement that does not hold. */
export interface FalseStatement {
  readonly index: number;
  readonly reason: string;
}

/**
 * Reads an export a second time, and makes each statement anew, from all entries that stand before the tree that it is about:
 * one that leaves out an entry, or has one that is not there, is found.
 *
 * Remembers 40 bytes of each entry about an owner of whom there are statements, and what filters ask for where a statement
 * has one.
 */
export class HistoryRecount {
  readonly #lines = new LineSplitter();
  readonly #tree = Frontier.empty();
  readonly #owners = new Map<string, Owned>();
  /** By the size of their tree, the smallest last. */
  readonly #waiting: Said[];
  #found: FalseStatement | undefined;

  constructor(statements: readonly Said[]) {
    this.#waiting = [...statements].sort((a, b) => b.checkpoint.size - a.checkpoint.size);
    for (const { owner, filter } of statements) {
      const isFiltered = Object.keys(filter).length > 0 || this.#owners.get(owner)?.isFiltered === true;
      this.#owners.set(owner, new Owned(isFiltered));
    }
  }

  /** Takes the next bytes of the export. Those behind the last statement's tree are not looked at. */
  write(chunk: Uint8Array): void {
    for (const line of this.#lines.push(chunk)) {
      if (this.#waiting.length === 0 || this.#found !== undefined) return;
      // the header is no entry, and begins as the format of an entry does not
      if (lineKind(line.text) === 'entry' && !line.text.startsWith('{"escrowd-export":')) this.#take(line);
    }
  }

  /** The first statement that does not hold, in the order of the trees that they are about. */
  finish(): FalseStatement | undefined {
    this.#settle();
    const [left] = this.#waiting;
    return this.#found ?? (left && { index: left.index, reason: 'the export has changed while it was read' });
  }

  #take({ text, bytes }: Line): void {
    this.#settle();
    const leaf = leafHash(bytes);
    const entry = parseEntry(text, bytes.length);
    this.#owners.get(entry.subject.owner ?? '')?.add(this.#tree.size, leaf, entry);
    this.#tree.append(leaf);
  }

  /** Makes the statements anew that are about the tree of the entries so far. */
  #settle(): void {
    for (
      let said = this.#waiting.at(-1);
      said?.checkpoint.size === this.#tree.size;
      said = this.#waiting.at(-1)
    ) {
      this.#waiting.pop();
      this.#found ??= this.#check(said);
    }
  }

  #check({ index, owner, filter, checkpoint, count: saidCount, list }: Said): FalseStatement | undefined {
    if (checkpoint.root !== encodeBase64(this.#tree.root())) {
      return {
        index,
        reason: `the history of ${owner} is said to be complete in a tree that this log has not had`,
      };
    }
    const true_ = this.#owners.get(owner)?.list(owner, filter);
    if (true_?.count === saidCount && true_.digest === list) return undefined;
    const reason = `the history of ${owner} is said to be complete with ${saidCount} entries, and is another: of ${true_?.count ?? 0}`;
    return { index, reason };
  }
}

/** Of an entry, what a filter looks at. */
type Filtered = Pick<Entry, 'act' | 'time' | 'subject'>;

/** An index (uint64) and a leaf hash: what a list is the digest of. */
const ROW_BYTES = 40;

/** The entries about one owner so far. */
class Owned {
  readonly isFiltered: boolean;
  /** Rows, the newest first, at the end of this. */
  #rows = Buffer.alloc(64 * ROW_BYTES);
  #start = this.#rows.length;
  readonly #entries: Filtered[] = [];

  constructor(isFiltered: boolean) {
    this.isFiltered = isFiltered;
  }

  add(index: number, leaf: Uint8Array, { act, time, subject }: Entry): void {
    if (this.#start === 0) {
      const larger = Buffer.alloc(this.#rows.length * 2);
      this.#start = larger.length - this.#rows.length;
      larger.set(this.#rows, this.#start);
      this.#rows = larger;
    }
    this.#start -= ROW_BYTES;
    this.#rows.writeBigUInt64BE(BigInt(index), this.#start);
    this.#rows.set(leaf, this.#start + 8);
    if (this.isFiltered) this.#entries.push({ act, time, subject });
  }

  /** The list of those that are in this part of the history, as {@link HistoryList} of src/escrow makes it. */
  list(owner: string, filter: HistoryFilter): { readonly count: number; readonly digest: string } {
    const rows = this.#rows.subarray(this.#start);
    const all = rows.length / ROW_BYTES;
    const hash = createHash('sha256');
    if (Object.keys(filter).length === 0) return { count: all, digest: hash.update(rows).digest('hex') };
    let count = 0;
    for (let at = 0; at < all; at += 1) {
      const entry = this.#entries[all - 1 - at];
      if (entry === undefined || !isInHistory(entry, owner, filter)) continue;
      count += 1;
      hash.update(rows.subarray(at * ROW_BYTES, (at + 1) * ROW_BYTES));
    }
    return { count, digest: hash.digest('hex') };
  }
}
