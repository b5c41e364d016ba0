import { createInterface, type Interface } from 'node:readline/promises';
import { Writable } from 'node:stream';
import { styleText } from 'node:util';

/** Where a command writes and asks. */
export interface Terminal {
  /** What was asked for. Bytes are written as they are. */
  write(output: string | Uint8Array): void;
  /**
   * Resolves when all that was written has left.
   * @throws an error of the system, with a `code`: EPIPE where nobody reads any more, ENOSPC where the disk is full
   */
  flush(): Promise<void>;
  /** Everything else: errors, questions, progress. What cannot be written of it is lost. */
  writeError(text: string): void;
  /** Whether a person sees stderr and can answer. */
  readonly isInteractive: boolean;
  /** Whether standard input is a terminal: what is typed there is seen, unless it is asked for hidden. */
  readonly isInputTyped: boolean;
  /** How wide what was asked for may be: of the terminal that it goes to; undefined where it goes elsewhere. */
  readonly columns: number | undefined;
  /** Whether stderr takes colours. */
  readonly hasColor: boolean;
  /** Asks on stderr, reads a line. @throws Interrupted */
  ask(question: string): Promise<string>;
  /** Asks on stderr, reads a line that is not shown. @throws Interrupted */
  askHidden(question: string): Promise<Buffer>;
  /** The whole of standard input; of what is longer than so many bytes, no more than these. */
  readInput(mostBytes?: number): Promise<Buffer>;
}

/** The process's own terminal. */
export function processTerminal(): Terminal {
  const { stdin, stdout, stderr, env } = process;
  let fault: Error | undefined;
  stdout.on('error', (error) => {
    fault ??= error;
  });
  stderr.on('error', () => undefined);
  return {
    write: (output) => stdout.write(output),
    flush: () =>
      new Promise((resolve, reject) => {
        stdout.write('', (error) => {
          const found = fault ?? error;
          if (found) reject(found);
          else resolve();
        });
      }),
    writeError: (text) => stderr.write(text),
    isInteractive: stdin.isTTY && stderr.isTTY,
    isInputTyped: stdin.isTTY,
    columns: stdout.isTTY ? columnsOf(stdout.columns, env['COLUMNS']) : columnsOf(undefined, env['COLUMNS']),
    // no-color.org: any value that is not empty
    hasColor: stderr.isTTY && (env['NO_COLOR'] ?? '') === '' && env['TERM'] !== 'dumb',
    ask: async (question) => {
      const lines = createInterface({ input: stdin, output: stderr });
      try {
        return await answered(lines, question);
      } finally {
        lines.close();
      }
    },
    askHidden: async (question) => {
      stderr.write(question);
      // readline in terminal mode turns the echo of the terminal off and writes its own to `output`
      const output = new Writable({
        write: (_chunk, _encoding, done) => {
          done();
        },
      });
      const lines = createInterface({ input: stdin, output, terminal: true });
      try {
        return Buffer.from(await answered(lines, ''));
      } finally {
        lines.close();
        stderr.write('\n');
      }
    },
    readInput: (mostBytes = Infinity) => readStream(stdin, mostBytes),
  };
}

/** What was read stands in what is given back, and nowhere else. */
async function readStream(stream: AsyncIterable<Buffer>, mostBytes: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  try {
    let length = 0;
    for await (const chunk of stream) {
      chunks.push(chunk);
      length += chunk.length;
      if (length >= mostBytes) break;
    }
    return Buffer.concat(chunks, Math.min(length, mostBytes));
  } finally {
    for (const chunk of chunks) chunk.fill(0);
  }
}

/** The person at the terminal has broken it off: Ctrl-C, or the end of the input in place of an answer. */
export class Interrupted extends Error {
  override readonly name = 'Interrupted';
}

function answered(lines: Interface, question: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const broken = (): void => {
      reject(new Interrupted('interrupted'));
    };
    lines.once('SIGINT', broken);
    lines.once('close', broken);
    lines.question(question).then(resolve, broken);
  });
}

/** COLUMNS (POSIX) speaks before the terminal: whoever sets it wants it so. */
function columnsOf(found: number | undefined, variable = ''): number | undefined {
  return /^[1-9][0-9]{1,3}$/.test(variable) ? Number(variable) : found;
}

/** `error:` as it stands before a sentence. */
export function errorMark(hasColor: boolean): string {
  return hasColor ? styleText(['bold', 'red'], 'error:', { validateStream: false }) : 'error:';
}
