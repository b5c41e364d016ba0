import { readdirSync, readFileSync } from 'node:fs';

/** What a process and all below it have used since they began, and what they hold now. */
export interface Costs {
  readonly cpuMicros: number;
  /** Resident memory. Pages that several processes share are counted once, divided among them. */
  readonly residentBytes: number;
}

/** proc(5): times are in these, on Linux for every program. */
const TICK_MICROS = 10_000;

interface Stat {
  readonly pid: number;
  readonly parent: number;
  /** Of its own, and of the children that have ended and were waited for. */
  readonly ticks: number;
}

/** Counts a process and its descendants; `except` is one of those that is left out with all below it. */
export function costsOf(root: number, except?: number): Costs {
  const all = readdirSync('/proc').flatMap((name) => statOf(name) ?? []);
  if (!all.some(({ pid }) => pid === root)) throw new Error(`there is no process ${root}`);
  const counted: Stat[] = [];
  const visit = (pid: number): void => {
    if (pid === except) return;
    for (const each of all) {
      if (each.pid === pid) counted.push(each);
      else if (each.parent === pid) visit(each.pid);
    }
  };
  visit(root);
  return {
    cpuMicros: counted.reduce((sum, { ticks }) => sum + ticks * TICK_MICROS, 0),
    residentBytes: counted.reduce((sum, { pid }) => sum + shareOfMemory(pid), 0),
  };
}

function statOf(name: string): Stat | undefined {
  if (!/^\d+$/.test(name)) return undefined;
  const text = readOrNothing(`/proc/${name}/stat`);
  // pid (comm) state ppid ...; comm may hold parentheses and spaces itself
  const fields = text
    .slice(text.lastIndexOf(')') + 2)
    .split(' ')
    .map(Number);
  const [, parent] = fields;
  // fields 14 to 17, of which the first here is field 3
  const ticks = fields.slice(11, 15).reduce((sum, each) => sum + each, 0);
  return parent === undefined ? undefined : { pid: Number(name), parent, ticks };
}

function shareOfMemory(pid: number): number {
  const [, kibibytes] = /^Pss: +(\d+) kB$/m.exec(readOrNothing(`/proc/${pid}/smaps_rollup`)) ?? [];
  return Number(kibibytes ?? 0) * 1024;
}

/** A process may end while it is looked at. */
function readOrNothing(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
}
