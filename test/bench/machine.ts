import { execFileSync } from 'node:child_process';
import { cpus, loadavg, release, totalmem } from 'node:os';

/** On what a bench has run. */
export interface Machine {
  readonly processor: string;
  readonly cores: number;
  readonly memoryGibibytes: number;
  readonly kernel: string;
  readonly node: string;
  readonly softhsm: string;
  readonly at: string;
  /** Of the minute before: what else was running. */
  readonly loadBefore: number;
}

/** Looks at this machine, before anything is measured. */
export function thisMachine(): Machine {
  const [first] = cpus();
  return {
    processor: first?.model ?? 'unknown',
    cores: cpus().length,
    memoryGibibytes: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    node: process.version,
    softhsm: execFileSync('softhsm2-util', ['--version'], { encoding: 'utf8' }).trim(),
    at: new Date().toISOString(),
    loadBefore: loadavg()[0] ?? NaN,
  };
}
