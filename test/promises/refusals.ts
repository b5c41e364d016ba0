import { NotProven, ServerProblem } from '../../src/client/errors.js';

/** The code with which the server refuses; fails when it does not refuse. */
export async function refusalOf(answer: Promise<unknown>): Promise<string> {
  try {
    await answer;
  } catch (error) {
    const problem = problemOf(error);
    if (problem !== undefined) return problem.code;
    throw error;
  }
  throw new Error('nothing was refused');
}

/** How often each came: a code for what was refused, `answered` for the rest. */
export async function tally(answers: readonly Promise<unknown>[]): Promise<Readonly<Record<string, number>>> {
  const counts: Record<string, number> = {};
  for (const answer of await Promise.allSettled(answers)) {
    const outcome = answer.status === 'fulfilled' ? 'answered' : codeOf(answer.reason);
    counts[outcome] = (counts[outcome] ?? 0) + 1;
  }
  return counts;
}

function codeOf(reason: unknown): string {
  return problemOf(reason)?.code ?? String(reason);
}

/** The problem that the server answered, also where it is the reason why nothing was proven. */
function problemOf(error: unknown): ServerProblem | undefined {
  if (error instanceof NotProven) return problemOf(error.cause);
  return error instanceof ServerProblem ? error : undefined;
}
