import fc from 'fast-check';

import type { PrincipalId } from '../../../src/escrow/records/ids.js';
import type { Shape } from '../../../src/escrow/rules/quorums.js';
import { minimalQuorums } from '../../../src/escrow/rules/quorums.js';
import { errorCode } from '../../support/errorCode.js';

const people = ['ann', 'ben', 'cat', 'dan', 'eve'] as const;
const one = (id: string): Shape => ({ one: id as PrincipalId });
const atLeast = (count: number, ...of: Shape[]): Shape => ({ atLeast: count, of });

const SETS = 1 << people.length;

/**
 * What a shape means, straight from its definition: of so many of its parts, each agrees by people of its own. Sets of
 * people are bits; the table says for each set whether it agrees.
 */
function table(shape: Shape): readonly boolean[] {
  const sets = Array.from({ length: SETS }, (_, set) => set);
  if ('one' in shape) return sets.map((set) => (set & bitOf(shape.one)) !== 0);
  // most[used]: how many of the parts so far can agree by exactly these people
  let most: readonly number[] = sets.map((set) => (set === 0 ? 0 : -1));
  for (const part of shape.of.map(table)) {
    most = sets.map((set) =>
      Math.max(
        most[set] ?? -1,
        ...sets
          .filter((own) => (own & set) === own && part[own] === true)
          .map((own) => {
            const others = most[set & ~own] ?? -1;
            return others < 0 ? -1 : others + 1;
          }),
      ),
    );
  }
  return sets.map((set) => sets.some((used) => (used & set) === used && (most[used] ?? -1) >= shape.atLeast));
}

function bitOf(id: string): number {
  return 1 << people.findIndex((one) => one === id);
}

function agrees(shape: Shape, yes: ReadonlySet<string>): boolean {
  return table(shape)[[...yes].reduce((set, id) => set | bitOf(id), 0)] === true;
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

/** None where nobody can agree. */
function quorumsOf(shape: Shape): ReturnType<typeof minimalQuorums> {
  const isPossible = table(shape)[SETS - 1] === true;
  if (isPossible) return minimalQuorums(shape);
  expect(errorCode(() => minimalQuorums(shape))).toBe('quorum-impossible');
  return [];
}

describe('minimal quorums', () => {
  it('are exactly the sets that satisfy the shape and have no smaller one inside', () => {
    fc.assert(
      fc.property(shapes, fc.subarray([...people]), (shape, yes) => {
        const quorums = quorumsOf(shape);
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

  it('count nobody twice: one person in two branches is one person, and not two who agree', () => {
    expect(minimalQuorums(atLeast(2, one('ann'), atLeast(1, one('ann'), one('ben'))))).toEqual([
      ['ann', 'ben'],
    ]);
    expect(errorCode(() => minimalQuorums(atLeast(2, one('ann'), one('ann'))))).toBe('quorum-impossible');
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

  it('are refused beyond 128 people, however few are in each', () => {
    const pairs = (count: number): Shape =>
      atLeast(
        1,
        ...Array.from({ length: count }, (_, i) =>
          atLeast(3, ...[0, 1, 2].map((k) => one(`p${String(3 * i + k)}`))),
        ),
      );
    expect(minimalQuorums(pairs(42)).flat()).toHaveLength(126);
    expect(errorCode(() => minimalQuorums(pairs(43)))).toBe('quorum-too-large');
  });
});
