import { ServerProblem } from '../../src/client/errors.js';

/** The code with which the server refuses; fails when it does not refuse. */
export async function refusalOf(answer: Promise<unknown>): Promise<string> {
  try {
    await answer;
  } catch (error) {
    if (error instanceof ServerProblem) return error.code;
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
  return reason instanceof ServerProblem ? reason.code : String(reason);
}
