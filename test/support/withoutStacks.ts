/**
 * Does work in which native code refuses nearly every call: most of such a refusal is the stack of its error.
 * @param refused a call that is refused: under jest the errors of native code are of another realm than the test's
 */
export function withoutStacks<T>(refused: () => unknown, work: () => T): T {
  const errors = errorsOf(refused);
  const { stackTraceLimit } = errors;
  errors.stackTraceLimit = 0;
  try {
    return work();
  } finally {
    errors.stackTraceLimit = stackTraceLimit;
  }
}

/** The Error of whoever refuses this. */
function errorsOf(refused: () => unknown): { stackTraceLimit: number } {
  try {
    refused();
  } catch (error) {
    for (let at: unknown = error; at !== null; at = Object.getPrototypeOf(at) as unknown) {
      const { constructor } = at as { readonly constructor: object };
      if ('stackTraceLimit' in constructor) return constructor as { stackTraceLimit: number };
    }
  }
  throw new Error('what should be refused throws no error of a known kind');
}
