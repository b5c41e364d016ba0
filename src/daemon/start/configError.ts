import { type Fault, inWords } from './fault.js';

/** The configuration, or what it names, cannot be used; `message` is for the operator, `faults` the same in parts. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';

  constructor(
    readonly faults: readonly Fault[],
    options?: ErrorOptions,
  ) {
    super(faults.map(inWords).join('. '), options);
  }
}

/**
 * Does all of these, so that what is wrong with any of them is said at once.
 *
 * @throws ConfigError with the faults of all; what else one of them throws goes through
 */
export function allOf<const T extends readonly unknown[]>(works: { readonly [K in keyof T]: () => T[K] }): T {
  const failed: ConfigError[] = [];
  const results = works.map((work) => {
    try {
      return work();
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      failed.push(error);
      return undefined;
    }
  });
  const [first, ...others] = failed;
  if (first === undefined) return results as unknown as T;
  throw others.length === 0 ? first : new ConfigError(failed.flatMap(({ faults }) => faults));
}
