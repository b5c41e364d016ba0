import { z } from 'zod';

import type { WireAnswer } from './connection.js';
import { ServerProblem, ServerUnreachable } from './errors.js';
import { jsonOrUndefined } from '../system/json.js';

const PROBLEM_TYPE = 'urn:escrowd:problem:';

const INSTANCE = /^urn:uuid:([0-9a-f-]{36})$/;

const schema = z.object({
  type: z.string(),
  detail: z.string().optional(),
  title: z.string().optional(),
  instance: z.string().optional(),
});

/** What an answer that is not a success says: a ServerProblem, or ServerUnreachable when it is none of escrowd's. */
export function asProblem(answer: WireAnswer): ServerProblem | ServerUnreachable {
  const problem = schema.safeParse(jsonOrUndefined(answer.body.toString('utf8')));
  if (!problem.success || !problem.data.type.startsWith(PROBLEM_TYPE)) {
    return new ServerUnreachable(
      'not-escrowd',
      `an answer with status ${answer.status} that is not one of escrowd`,
    );
  }
  const { type, detail, title, instance } = problem.data;
  const code = type.slice(PROBLEM_TYPE.length);
  const requestId = INSTANCE.exec(instance ?? '')?.[1];
  return new ServerProblem(code, answer.status, detail ?? title ?? '', requestId, answer.clockAheadMs);
}
