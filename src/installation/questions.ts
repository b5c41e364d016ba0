import { createInterface } from 'node:readline/promises';

/** Asks one thing after the other on a terminal: on stderr, so that what is printed can go elsewhere. */
export interface Questions {
  /** @param usual what an empty answer stands for; without it the question is asked until there is an answer */
  ask(question: string, usual?: string): Promise<string>;
  /** Asks until the answer is empty. */
  askMany(question: string): Promise<readonly string[]>;
  close(): void;
}

/** Questions on the terminal of this process; undefined where nobody can answer. */
export function terminalQuestions(): Questions | undefined {
  if (!process.stdin.isTTY || !process.stderr.isTTY) return undefined;
  const lines = createInterface({ input: process.stdin, output: process.stderr });
  const ask = async (question: string, usual?: string): Promise<string> => {
    for (;;) {
      const hint = usual === undefined || usual === '' ? '' : ` [${usual}]`;
      const answer = (await lines.question(`${question}${hint}: `)).trim();
      if (answer !== '') return answer;
      if (usual !== undefined) return usual;
    }
  };
  return {
    ask,
    askMany: async (question) => {
      const answers: string[] = [];
      for (;;) {
        const answer = await ask(`${question}, or nothing`, '');
        if (answer === '') return answers;
        answers.push(answer);
      }
    },
    close: () => {
      lines.close();
    },
  };
}
