import { LineError, LineSplitter, type Line } from './lines.js';

/** Why a file is not to be believed, and the entry where that shows. */
export class Fault extends Error {
  override readonly name = 'Fault';

  constructor(
    message: string,
    readonly index?: number,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** How a file is checked. Each step throws what is wrong. */
export interface LineCheck {
  accept(line: Line): void;
  /** The file has ended, with a whole line. */
  end(): void;
  /** The fault that an error of a format is; undefined of any other error, which is a bug and goes through. */
  asFault(error: unknown): Fault | undefined;
}

/**
 * Checks a file line by line as it streams by, up to the first fault. Fed with bytes by {@link write}, or with lines by
 * {@link line}, and then told to {@link finish}.
 */
export class CheckedLines {
  readonly #check: LineCheck;
  readonly #splitter = new LineSplitter();
  #fault: Fault | undefined;

  constructor(check: LineCheck) {
    this.#check = check;
  }

  /** Takes the next bytes, cut anywhere. They may be reused afterwards. */
  write(chunk: Uint8Array): void {
    this.#guard(() => {
      for (const line of this.#splitter.push(chunk)) this.#check.accept(line);
    });
  }

  /** Takes the next line, without its line feed. Lines end at line feeds (0x0A) only. */
  line(text: string): void {
    this.#guard(() => {
      this.#check.accept({ text, bytes: Buffer.from(text) });
    });
  }

  /** The first fault, if there is any. Nothing may be written afterwards. */
  finish(): Fault | undefined {
    this.#guard(() => {
      if (this.#splitter.isMidLine) throw new Fault('the file ends within a line: truncated');
      this.#check.end();
    });
    return this.#fault;
  }

  #guard(step: () => void): void {
    if (this.#fault !== undefined) return;
    try {
      step();
    } catch (error) {
      if (error instanceof Fault) this.#fault = error;
      else if (error instanceof LineError) this.#fault = new Fault(error.message);
      else this.#fault = this.#check.asFault(error);
      if (this.#fault === undefined) throw error;
    }
  }
}
