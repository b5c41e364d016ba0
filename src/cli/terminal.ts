import { createInterface } from 'node:readline/promises';
import { Writable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { styleText } from 'node:util';

/** Where a command writes and asks. */
export interface Terminal {
  /** What was asked for. Bytes are written as they are. */
  write(output: string | Uint8Array): void;
  /** Everything else: errors, questions, progress. */
  writeError(text: string): void;
  /** Whether a person sees stderr and can answer. */
  readonly isInteractive: boolean;
  /** Whether standard input is a terminal: what is typed there is seen, unless it is asked for hidden. */
  readonly isInputTyped: boolean;
  /** Whether stderr takes colours. */
  readonly hasColor: boolean;
  /** Asks on stderr, reads a line. */
  ask(question: string): Promise<string>;
  /** Asks on stderr, reads a line that is not shown. */
  askHidden(question: string): Promise<Buffer>;
  readInput(): Promise<Buffer>;
}

/** The process's own terminal. */
export function processTerminal(): Terminal {
  const { stdin, stdout, stderr, env } = process;
  return {
    write: (output) => stdout.write(output),
    writeError: (text) => stderr.write(text),
    isInteractive: stdin.isTTY && stderr.isTTY,
    isInputTyped: stdin.isTTY,
    // no-color.org: any value that is not empty
    hasColor: stderr.isTTY && (env['NO_COLOR'] ?? '') === '' && env['TERM'] !== 'dumb',
    ask: async (question) => {
      const lines = createInterface({ input: stdin, output: stderr });
      try {
        return await lines.question(question);
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
        return Buffer.from(await lines.question(''));
      } finally {
        lines.close();
        stderr.write('\n');
      }
    },
    readInput: () => buffer(stdin),
  };
}

/** `error:` as it stands before a sentence. */
export function errorMark(hasColor: boolean): string {
  return hasColor ? styleText(['bold', 'red'], 'error:', { validateStream: false }) : 'error:';
}
