import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { programOf, transpiled } from '../support/runTs.js';

/** The daemon as a process that can be killed and started again. */
export interface DaemonProcess {
  /** Starts it; resolves when it serves. Throws with what it said when it ends instead. */
  start(): Promise<void>;
  /** Sends a signal and waits for its end. */
  stop(signal: 'SIGTERM' | 'SIGKILL'): Promise<void>;
  /** Whether it was started and not stopped. */
  isRunning(): boolean;
  /** Whether it has ended though nobody stopped it. */
  hasEnded(): boolean;
  /** How it ended, and the last lines that it said. */
  lastWords(): string;
  /** Removes what was made for it. */
  remove(): void;
}

/** Lines of the daemon's log that are kept for whoever asks why it ended. */
const LINES_KEPT = 40;

/** Makes the program out of src: as it is, or, for the control, with a journal that answers before it writes. */
export function daemonProcess(configFile: string, journal: 'honest' | 'hasty'): DaemonProcess {
  const made = programOf(join(process.cwd(), 'src', 'main.ts'));
  const hasty = journal === 'hasty' ? hastyCopy(dirname(dirname(made))) : undefined;
  const program = hasty === undefined ? made : join(hasty, 'src', 'main.js');
  let running: ChildProcess | undefined;
  let said: string[] = [];
  return {
    start: async () => {
      const child = spawn(process.execPath, [program, '--config', configFile], {
        cwd: '/',
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      running = child;
      said = [];
      await new Promise<void>((resolve, reject) => {
        createInterface({ input: child.stdout }).on('line', (line) => {
          said = [...said, line].slice(-LINES_KEPT);
          if (line.includes('"serving"')) resolve();
        });
        child.once('exit', () => {
          reject(new Error(`the daemon ended: ${endOf(child, said)}`));
        });
      });
    },
    stop: async (signal) => {
      const child = running;
      running = undefined;
      if (child === undefined || hasEnded(child)) return;
      const exit = once(child, 'exit');
      child.kill(signal);
      await exit;
    },
    isRunning: () => running !== undefined,
    hasEnded: () => running !== undefined && hasEnded(running),
    lastWords: () => (running === undefined ? '' : endOf(running, said)),
    remove: () => {
      if (hasty !== undefined) rmSync(hasty, { recursive: true, force: true });
    },
  };
}

function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}

function endOf(child: ChildProcess, said: readonly string[]): string {
  return [`${child.exitCode ?? child.signalCode ?? 'nothing'}`, ...said].join('\n');
}

/** A copy of the program with its journal replaced. */
function hastyCopy(program: string): string {
  const directory = mkdtempSync(join(tmpdir(), 'escrowd-package-'));
  cpSync(program, directory, { recursive: true, verbatimSymlinks: true });
  const adapter = join(directory, 'src', 'postgres', 'journal');
  renameSync(join(adapter, 'journal.js'), join(adapter, 'honestJournal.js'));
  const code = transpiled(join(process.cwd(), 'test', 'crash', 'hastyJournal.ts'));
  writeFileSync(
    join(adapter, 'journal.js'),
    code.replace('../../src/postgres/journal/journal.js', './honestJournal.js'),
  );
  return directory;
}
