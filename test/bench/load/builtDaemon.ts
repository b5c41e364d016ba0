import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

/** The daemon as people run it: the built program, in a process of its own. */
export interface BuiltDaemon {
  readonly pid: number;
  /** Stops it as an operator does. Throws when it ends otherwise. */
  stop(): Promise<void>;
}

const PROGRAM = join('dist', 'main.js');
/** Lines of the daemon's log that are kept for whoever asks why it ended. */
const LINES_KEPT = 20;

/**
 * Starts it and resolves when it serves.
 * @param profileInto where node is to write a profile of its CPU time when it stops; none when it is not given
 * @throws Error when it was not built since the source changed, or ends instead
 */
export async function startBuiltDaemon(configFile: string, profileInto?: string): Promise<BuiltDaemon> {
  requireBuilt();
  const profiling = profileInto === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profileInto}`];
  const child = spawn(process.execPath, [...profiling, PROGRAM, '--config', configFile], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let said: readonly string[] = [];
  let isStopping = false;
  const lines = createInterface({ input: child.stdout });
  const exit = once(child, 'exit') as Promise<[number | null, string | null]>;
  void exit.then(([code, signal]) => {
    if (!isStopping)
      process.stderr.write(`the daemon ended with ${code ?? signal ?? ''}:\n${said.join('\n')}\n`);
  });
  const serving = new Promise<void>((resolve) => {
    lines.on('line', (line) => {
      said = [...said, line].slice(-LINES_KEPT);
      if (line.includes('"serving"')) resolve();
    });
  });
  const ended = exit.then(() => {
    throw new Error('the daemon ended before it served');
  });
  ended.catch(() => undefined);
  await Promise.race([serving, ended]);
  if (child.pid === undefined) throw new Error('the daemon has no process');
  return {
    pid: child.pid,
    stop: async () => {
      isStopping = true;
      child.kill('SIGTERM');
      const [code, signal] = await exit;
      if (code !== 0) throw new Error(`the daemon ended with ${code ?? signal ?? ''}:\n${said.join('\n')}`);
    },
  };
}

/** What is measured is the source as it stands. */
function requireBuilt(): void {
  const built = statSync(PROGRAM, { throwIfNoEntry: false })?.mtimeMs ?? 0;
  const newest = readdirSync('src', { recursive: true, withFileTypes: true })
    .filter((each) => each.isFile())
    .map((each) => statSync(join(each.parentPath, each.name)).mtimeMs)
    .reduce((latest, each) => Math.max(latest, each), 0);
  if (newest > built) throw new Error(`${PROGRAM} is not there, or older than src: npm run build`);
}
