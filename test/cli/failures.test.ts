import { failureOf } from '../../src/cli/failures.js';
import { NotProven, ServerProblem } from '../../src/client/errors.js';

/** Names that every object has something under. */
const NAMES = ['constructor', 'toString', '__proto__', 'hasOwnProperty'];

test.each(NAMES)(
  'a server that calls its problem %s is told of in a sentence, and nothing is next',
  (code) => {
    const problem = new ServerProblem(code, 400, 'no');
    expect(failureOf(problem)).toEqual({
      exit: 'refused',
      code,
      sentence: `refused (${code}): no`,
      next: undefined,
    });
    const { next } = failureOf(new NotProven('denied', 'no proof', { cause: problem }));
    expect(next).not.toMatch(/if it is as the server says/);
  },
);

test('a failure of the server names the request, so that the operators find it', () => {
  const id = '0190f3a4-c5d6-7e8f-90a1-b2c3d4e5f60b';
  const { exit, next } = failureOf(new ServerProblem('internal', 500, 'broken', id));
  expect(exit).toBe('unexpected');
  expect(next).toMatch(new RegExp(`the operators find it by ${id}$`));
});
