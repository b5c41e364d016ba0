import type { Terminal } from '../../src/cli/terminal.js';
import { runEscrowctl } from '../../src/cli/program.js';

/** What came of a command line. */
export interface Ran {
  readonly exit: number;
  readonly out: string;
  readonly bytes: Buffer;
  readonly err: string;
}

/** How the world is for one command line. */
export interface World {
  readonly now?: Date;
  readonly variables?: Readonly<Record<string, string>>;
  /** Answers of a person at the terminal; without them nobody is there. */
  readonly answers?: readonly string[];
  readonly input?: Buffer;
  /** Standard input is a terminal, and nobody sees what is asked. */
  readonly isInputTyped?: true;
  /** Where the programs beside escrowctl are; none, when it is not given. */
  readonly programs?: string;
  /** When the process is asked to end; at once, when it is not given. */
  readonly stopped?: Promise<void>;
  /** Told of everything that goes to standard output, as it is written. */
  readonly onOutput?: (text: string) => void;
}

/** Runs `escrowctl` with these arguments, in this process. */
export async function escrowctl(argv: readonly string[], world: World = {}): Promise<Ran> {
  const out: Buffer[] = [];
  const err: string[] = [];
  const answers = [...(world.answers ?? [])];
  const terminal: Terminal = {
    write: (output) => {
      out.push(Buffer.from(output));
      world.onOutput?.(Buffer.from(output).toString());
    },
    writeError: (text) => err.push(text),
    isInteractive: world.answers !== undefined,
    isInputTyped: world.answers !== undefined || world.isInputTyped === true,
    hasColor: false,
    ask: (question) => {
      err.push(question);
      return Promise.resolve(answers.shift() ?? '');
    },
    askHidden: (question) => {
      err.push(question);
      return Promise.resolve(Buffer.from(answers.shift() ?? ''));
    },
    readInput: () => Promise.resolve(world.input ?? Buffer.alloc(0)),
  };
  const exit = await runEscrowctl(argv, {
    terminal,
    variables: world.variables ?? {},
    now: () => world.now ?? new Date(),
    programs: world.programs ?? '/nonexistent',
    stopped: () => world.stopped ?? Promise.resolve(),
  });
  const bytes = Buffer.concat(out);
  return { exit, out: bytes.toString('utf8'), bytes, err: err.join('') };
}

/** What `--json` wrote. */
export function jsonOf(ran: Ran): Record<string, unknown> {
  return JSON.parse(ran.out) as Record<string, unknown>;
}
