import fc from 'fast-check';

import type { PrincipalId } from '../../src/escrow/ids.js';
import type { Shape } from '../../src/escrow/quorums.js';
import { completeQuorum, minimalQuorums } from '../../src/escrow/quorums.js';
import { errorCode } from '../support/errorCode.js';

const people = ['ann', 'ben', 'cat', 'dan', 'eve'] as const;
const one = (id: string): Shape => ({ one: id as PrincipalId });
const atLeast = (count: number, ...of: Shape[]): Shape => ({ atLeast: count, of });

/** What a shape means, straight from its definition. */
function agrees(shape: Shape, yes: ReadonlySet<string>): boolean {
  if ('one' in shape) return yes.has(shape.one);
  return shape.of.filter((part) => agrees(part, yes)).length >= shape.atLeast;
}

const shapes: fc.Arbitrary<Shape> = fc.letrec<{ shape: Shape }>((tie) => ({
  shape: fc.oneof(
    { depthSize: 'small' },
    fc.constantFrom(...people).map(one),
    fc
      .array(tie('shape'), { minLength: 1, maxLength: 4 })
      .chain((of) => fc.integer({ min: 1, max: of.length }).map((count) => atLeast(count, ...of))),
  ),
})).shape;

describe('minimal quorums', () => {
  it('are exactly the sets that satisfy the shape and have no smaller one inside', () => {
    fc.assert(
      fc.property(shapes, fc.subarray([...people]), (shape, yes) => {
        const quorums = minimalQuorums(shape);
        const agreed = new Set(yes as unknown as PrincipalId[]);
        const sufficient = quorums.some((members) => members.every((member) => agreed.has(member)));
        expect(sufficient).toBe(agrees(shape, agreed));
        for (const members of quorums) {
          for (const left of members) {
            expect(agrees(shape, new Set(members.filter((member) => member !== left)))).toBe(false);
          }
        }
      }),
    );
  });

  it('of 2 out of 3 are the three pairs, sorted', () => {
    expect(minimalQuorums(atLeast(2, one('cat'), one('ann'), one('ben')))).toEqual([
      ['ann', 'ben'],
      ['ann', 'cat'],
      ['ben', 'cat'],
    ]);
  });

  it('count nobody twice: one person in two branches is one person', () => {
    expect(minimalQuorums(atLeast(2, one('ann'), atLeast(1, one('ann'), one('ben'))))).toEqual([['ann']]);
  });

  it('do not exist where nobody can agree', () => {
    expect(errorCode(() => minimalQuorums(atLeast(1)))).toBe('quorum-impossible');
    expect(errorCode(() => minimalQuorums(atLeast(3, one('ann'), one('ben'))))).toBe('quorum-impossible');
  });

  it('are refused beyond 64, and beyond 9 members', () => {
    const many = Array.from({ length: 10 }, (_, i) => one(`p${String(i)}`));
    expect(errorCode(() => minimalQuorums(atLeast(4, ...many)))).toBe('quorum-too-large');
    expect(errorCode(() => minimalQuorums(atLeast(10, ...many)))).toBe('quorum-too-large');
    expect(minimalQuorums(atLeast(2, ...many))).toHaveLength(45);
  });
});

describe('a quorum is complete', () => {
  it('when each of its members has agreed, and not one sooner', () => {
    const quorums = [{ members: ['ann', 'ben'] as unknown as PrincipalId[] }];
    const agreed = (...ids: string[]): ReadonlySet<PrincipalId> => new Set(ids as unknown as PrincipalId[]);
    expect(completeQuorum(quorums, agreed('ann', 'cat'))).toBeUndefined();
    expect(completeQuorum(quorums, agreed('ann', 'ben'))).toBe(quorums[0]);
  });
});
