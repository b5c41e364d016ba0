import { createInterface } from 'node:readline/promises';

/** The person before whom the ceremony is run, beside what it prints. */
export interface CeremonyTerminal {
  /** Tells them something that is no result. */
  say(text: string): void;
  /** What they type; undefined when nobody is there to be asked. */
  ask(question: string): Promise<string | undefined>;
}

/** The terminal of this process: the standard input, and the standard error. */
export const ownTerminal: CeremonyTerminal = {
  say: (text) => {
    process.stderr.write(text);
  },
  ask: async (question) => {
    if (!process.stdin.isTTY) return undefined;
    const lines = createInterface({ input: process.stdin, output: process.stderr });
    try {
      return await lines.question(question);
    } finally {
      lines.close();
    }
  },
};
