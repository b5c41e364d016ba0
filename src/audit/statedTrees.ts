import { encodeBase64 } from '../log/note/base64.js';
import type { Entry } from '../log/entry/entry.js';
import { lineKind } from '../log/export/format.js';
import { LineSplitter } from '../log/export/lines.js';
import { Frontier, leafHash } from '../log/tree/merkle.js';
import { parseJws } from '../jose/jws.js';

interface Stated {
  readonly size: number;
  readonly root: string;
  readonly index: number;
}

/**
 * The trees that depositaries have named in their statements, as what they had seen of the log: each must be one that this
 * log went through. Statements name trees of before, so these are looked for when the whole log is known to hold.
 */
export class StatedTrees {
  readonly #stated: Stated[] = [];

  /** Notes the tree that the statement of this entry names; why it is refused, if no log of its place has it. */
  check({ act, phase, detail }: Entry, index: number): string | undefined {
    const isDecision = ['recovery.intend', 'recovery.approve', 'recovery.deny', 'key.drill'].includes(act);
    if (phase !== 'attempted' || !isDecision) return undefined;
    const { statement } = detail;
    const tree = typeof statement === 'string' ? parseJws(statement)?.payload['checkpoint'] : undefined;
    if (tree === undefined) return undefined;
    const { size, root } = (tree ?? {}) as Readonly<Record<string, unknown>>;
    if (typeof size !== 'number' || !(size > 0 && size <= index) || typeof root !== 'string')
      return 'the statement names no tree that there was';
    this.#stated.push({ size, root, index });
    return undefined;
  }

  /** The first entry whose statement names another tree than these entries make; reads no further than it must. */
  async findForeign(entries: AsyncIterable<Uint8Array>): Promise<number | undefined> {
    const stated = [...this.#stated].sort((a, b) => a.size - b.size);
    const foreign: number[] = [];
    const lines = new LineSplitter();
    const tree = Frontier.empty();
    let at = 0;
    let isHeader = true;
    for await (const chunk of entries) {
      for (const { text, bytes } of lines.push(chunk)) {
        if (at === stated.length) break;
        const isEntry = !isHeader && lineKind(text) === 'entry';
        isHeader = false;
        if (!isEntry) continue;
        tree.append(leafHash(bytes));
        if (stated[at]?.size !== tree.size) continue;
        const root = encodeBase64(tree.root());
        for (let next = stated[at]; next?.size === tree.size; next = stated[at]) {
          if (next.root !== root) foreign.push(next.index);
          at += 1;
        }
      }
      if (at === stated.length) break;
    }
    return foreign.length === 0 ? undefined : Math.min(...foreign);
  }
}
