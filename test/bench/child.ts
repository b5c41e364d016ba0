import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

/** A process of its own, running a file beside this one. */
export interface Child {
  /** The next line that it writes; each is a JSON value. */
  next<T>(): Promise<T>;
  /** Writes a line to it. */
  tell(line: string): void;
  /** Waits for its end. Throws when that is not a good one. */
  ended(): Promise<void>;
}

/** Starts `file`, a TypeScript file of this folder, with a JSON argument. */
export function startChild(file: string, argument: unknown): Child {
  const path = fileURLToPath(new URL(file, import.meta.url));
  const child = spawn(process.execPath, [...process.execArgv, path, JSON.stringify(argument)], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const ended = once(child, 'exit');
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    next: async <T>() => {
      const line = await lines.next();
      if (line.done === true) throw new Error(`${file} ended early`);
      return JSON.parse(line.value) as T;
    },
    tell: (line) => void child.stdin.write(`${line}\n`),
    ended: async () => {
      child.stdin.end();
      const [code] = (await ended) as [number | null];
      if (code !== 0) throw new Error(`${file} ended with ${code ?? 'a signal'}`);
    },
  };
}
