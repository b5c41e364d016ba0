/** A line that is not UTF-8. */
export class LineError extends Error {
  override readonly name = 'LineError';
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
   * The lines that `chunk` completes, without their line feeds. The chunk may be reused afterwards.
   * @throws LineError on a line that is not UTF-8.
   */
  *push(chunk: Uint8Array): Generator<string, void, undefined> {
    let start = 0;
    for (let end = chunk.indexOf(0x0a); end !== -1; end = chunk.indexOf(0x0a, start)) {
      const line = Buffer.concat([...this.#unfinished, chunk.subarray(start, end)]);
      this.#unfinished = [];
      start = end + 1;
      yield utf8Text(line);
    }
    // Not `slice`: that of a Buffer does not copy.
    if (start < chunk.length) this.#unfinished.push(Uint8Array.from(chunk.subarray(start)));
  }
}

function utf8Text(line: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(line);
  } catch (cause) {
    throw new LineError('a line is not UTF-8', { cause });
  }
}
