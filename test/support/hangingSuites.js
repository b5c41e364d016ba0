import { readdirSync, readFileSync } from 'node:fs';
import { relative } from 'node:path';
import { performance } from 'node:perf_hooks';
import { clearInterval, setInterval } from 'node:timers';

/** Many times what the longest suite takes. A test's own limit ends what waits; only a call that never returns comes here. */
const LIMIT_MS = 15 * 60_000;
const LOOKED_AT_MS = 10_000;

/**
 * Ends a run in which a suite hangs in a call that never returns, which no limit of a test can end, and says which suite and test
 * that is, and of each process of the run what it is, what it waits for and what its threads do. Otherwise the run would hang
 * without a word.
 */
class HangingSuites {
  #since = new Map();
  #tests = new Map();
  #timer;

  onRunStart() {
    this.#timer = setInterval(() => {
      this.#look();
    }, LOOKED_AT_MS);
    this.#timer.unref();
  }

  onTestFileStart({ path }) {
    this.#since.set(path, performance.now());
  }

  onTestCaseStart({ path }, { fullName }) {
    this.#tests.set(path, fullName);
  }

  onTestFileResult({ path }) {
    this.#since.delete(path);
    this.#tests.delete(path);
  }

  onRunComplete() {
    clearInterval(this.#timer);
  }

  #look() {
    const hanging = [...this.#since].filter(([, since]) => performance.now() - since > LIMIT_MS);
    if (hanging.length === 0) return;
    const names = hanging.map(
      ([path]) => `${relative(process.cwd(), path)}, its test begun last: ${this.#tests.get(path) ?? 'none'}`,
    );
    process.stderr.write(
      `\nHangs for ${LIMIT_MS / 60_000} minutes: ${names.join('; ')}\nThe processes of the run:\n`,
    );
    const descendants = descendantsOf(process.pid);
    for (const { pid, depth } of descendants) process.stderr.write(described(pid, depth));
    for (const { pid } of descendants) kill(pid);
    process.exit(1);
  }
}

/** The processes below this one, parents first. */
function descendantsOf(root) {
  const parents = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((name) => ({
      pid: Number(name),
      parent: Number(/\) . (\d+)/.exec(read(`/proc/${name}/stat`))?.[1]),
    }));
  const below = (pid, depth) =>
    parents
      .filter(({ parent }) => parent === pid)
      .flatMap((child) => [{ pid: child.pid, depth }, ...below(child.pid, depth + 1)]);
  return below(root, 1);
}

/** A process by its command, and each of its threads by its name, its state and the kernel's function that it waits in. */
function described(pid, depth) {
  const indent = '  '.repeat(depth);
  const command = read(`/proc/${pid}/cmdline`).replaceAll('\0', ' ').slice(0, 300);
  const threads = list(`/proc/${pid}/task`).map((thread) => {
    const at = `/proc/${pid}/task/${thread}`;
    const [, name, state] = /\((.*)\) (.)/.exec(read(`${at}/stat`)) ?? [];
    return `${indent}    ${name} ${state} ${read(`${at}/wchan`)} ${read(`${at}/syscall`).trim().slice(0, 60)}\n`;
  });
  return `${indent}${pid} ${command}\n${threads.join('')}`;
}

/** What a process that ended meanwhile, or one that is not ours, says is nothing. */
function read(path) {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

function list(path) {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}

function kill(pid) {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // it ended by itself
  }
}

export { HangingSuites as default };
