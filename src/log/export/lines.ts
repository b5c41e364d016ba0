/** A line that is not UTF-8. */
export class LineError extends Error {
  override readonly name = 'LineError';
}

/** A line without its line feed. */
export interface Line {
  readonly text: string;
  /** Its UTF-8, exactly; a view of the chunk that it came in, if that was one. */
  readonly bytes: Uint8Array;
}

/**
 * Cuts a stream of bytes into lines, each ended by a line feed (0x0A) and by nothing else: what a general
 * line reader also takes for an end (CR, U+2028) may stand inside a JSON string. Holds one unfinished line.
 */
export class LineSplitter {
  #unfinished: Uint8Array[] = [];

  /** Whether bytes have come in after the last line feed. */
  get isMidLine(): boolean {
    return this.#unfinished.length > 0;
  }

  /**
   * The lines that `chunk` completes. The chunk may be reused once they have been taken.
   * @throws LineError on a line that is not UTF-8.
   */
  *push(chunk: Uint8Array): Generator<Line, void, undefined> {
    let start = 0;
    for (let end = chunk.indexOf(0x0a); end !== -1; end = chunk.indexOf(0x0a, start)) {
      const rest = chunk.subarray(start, end);
      const bytes = this.#unfinished.length === 0 ? rest : Buffer.concat([...this.#unfinished, rest]);
      this.#unfinished = [];
      start = end + 1;
      yield { text: utf8Text(bytes), bytes };
    }
    // Not `slice`: that of a Buffer does not copy.
    if (start < chunk.length) this.#unfinished.push(Uint8Array.from(chunk.subarray(start)));
  }
}

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

function utf8Text(line: Uint8Array): string {
  try {
    return decoder.decode(line);
  } catch (cause) {
    throw new LineError('a line is not UTF-8', { cause });
  }
}
