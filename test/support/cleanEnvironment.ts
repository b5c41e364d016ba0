import { join } from 'node:path';

import type { Circus } from '@jest/types';
import { TestEnvironment } from 'jest-environment-node';
import koffi from 'koffi';

import { seedInWords } from './chance.ts';
import { LIBRARY, readyPrimesDirectory } from './readyPrimes.ts';
import { limitWaiting, until } from './waiting.ts';

// a process that made them and runs suites itself was started before
const primes = readyPrimesDirectory();
if (primes !== undefined) koffi.load(join(primes, LIBRARY));

/**
 * Of the stack of an error, how many frames are kept. Jest keeps a hundred and looks each up in its source: of errors that are
 * made by the thousand, as those of a token that refuses, that is most of the time.
 */
const FRAMES = 20;

/**
 * A test file that leaves the process as it found it. Its environment: tests set variables where C code looks for them
 * (`setEnvironment`), which the next file of the same worker, and every process that it starts, would inherit. And what is
 * open: a socket, timer or child that a file leaves behind keeps the worker from ending, and the file fails.
 */
class CleanEnvironment extends TestEnvironment {
  readonly #found: Readonly<Record<string, string | undefined>> = { ...process.env };
  readonly #open = process.getActiveResourcesInfo();

  override async setup(): Promise<void> {
    await super.setup();
    for (const errors of [Error, this.global.Error]) errors.stackTraceLimit = FRAMES;
  }

  /** A test that waits is told how long it may, and one that fails says what it drew from. */
  handleTestEvent(event: Circus.Event, state: Circus.State): void {
    const running =
      event.name === 'test_fn_start' ? event.test : event.name === 'hook_start' ? event.hook : undefined;
    if (running !== undefined) {
      limitWaiting(this.global, performance.now() + (running.timeout ?? state.testTimeout));
    }
    if (event.name !== 'test_done' || event.test.errors.length === 0) return;
    const note = new Error(seedInWords());
    note.stack = note.message;
    event.test.errors.push(note);
  }

  override async teardown(): Promise<void> {
    await super.teardown();
    for (const name of Object.keys(process.env)) {
      if (this.#found[name] === undefined) Reflect.deleteProperty(process.env, name);
    }
    Object.assign(process.env, this.#found);
    // what was closed last takes a moment
    await until(() => this.#leftOpen().length === 0).catch(() => {
      throw new Error(`This file leaves open: ${this.#leftOpen().join(', ')}`);
    });
  }

  /** What keeps the process from ending and was not there before. */
  #leftOpen(): readonly string[] {
    const before = [...this.#open];
    return process.getActiveResourcesInfo().filter((kind) => {
      const at = before.indexOf(kind);
      if (at >= 0) before.splice(at, 1);
      return at < 0;
    });
  }
}

export { CleanEnvironment as default };
