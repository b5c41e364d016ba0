import type { Circus } from '@jest/types';
import { TestEnvironment } from 'jest-environment-node';

import { seedInWords } from './chance.ts';

/**
 * A test file that leaves the process's environment as it found it: tests set variables where C code looks for them
 * (`setEnvironment`), which the next file of the same worker, and every process that it starts, would inherit.
 */
class CleanEnvironment extends TestEnvironment {
  readonly #found: Readonly<Record<string, string | undefined>> = { ...process.env };

  /** A test that fails says what it drew from. */
  handleTestEvent(event: Circus.Event): void {
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
  }
}

export { CleanEnvironment as default };
