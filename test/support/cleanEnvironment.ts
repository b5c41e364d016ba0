import { TestEnvironment } from 'jest-environment-node';

/**
 * A test file that leaves the process's environment as it found it: tests set variables where C code looks for them
 * (`setEnvironment`), which the next file of the same worker, and every process that it starts, would inherit.
 */
class CleanEnvironment extends TestEnvironment {
  readonly #found: Readonly<Record<string, string | undefined>> = { ...process.env };

  override async teardown(): Promise<void> {
    await super.teardown();
    for (const name of Object.keys(process.env)) {
      if (this.#found[name] === undefined) Reflect.deleteProperty(process.env, name);
    }
    Object.assign(process.env, this.#found);
  }
}

export { CleanEnvironment as default };
