import { readFileSync } from 'node:fs';

/** Does work in which native code refuses nearly every call: most of such a refusal is the stack of its error. */
export function withoutStacks<T>(work: () => T): T {
  const limits = [Error, errorsOfNode()].map((errors) => ({ errors, limit: errors.stackTraceLimit }));
  for (const { errors } of limits) errors.stackTraceLimit = 0;
  try {
    return work();
  } finally {
    for (const { errors, limit } of limits) errors.stackTraceLimit = limit;
  }
}

/** Under jest the errors of native code are of another realm than the test's. */
function errorsOfNode(): { stackTraceLimit: number } {
  try {
    readFileSync('/nonexistent');
  } catch (error) {
    return (error as Error).constructor as ErrorConstructor;
  }
  throw new Error('a file that is not there was read');
}
