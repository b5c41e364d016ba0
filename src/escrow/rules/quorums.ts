import { EscrowError } from '../records/errors.js';
import type { PrincipalId } from '../records/ids.js';
import type { Quorum } from '../records/quorum.js';

/** At most so many minimal quorums are kept for one key and purpose. */
export const MAX_QUORUMS = 64;
/** At most so many depositaries are in one quorum: each is a layer. */
export const MAX_QUORUM_MEMBERS = 9;
/**
 * At most so many different depositaries are in the quorums of one key. Each has a share and a link for each purpose,
 * and the key's entry in the log names them all: with more it would be longer than an entry can be.
 */
export const MAX_DEPOSITARIES = 128;
/** Work bound while expanding an expression: candidate sets looked at. */
const MAX_CANDIDATES = 4096;

/** A resolved shape over people: who must agree. An empty list of choices means that nobody can. */
export type Shape =
  { readonly one: PrincipalId } | { readonly atLeast: number; readonly of: readonly Shape[] };

/**
 * All minimal quorums of a shape, each sorted, in lexical order. Nobody counts twice: the branches of a shape are
 * satisfied by people of their own, so that two of them are never satisfied by one person with two roles.
 *
 * @throws EscrowError `quorum-impossible` when no set of people suffices, `quorum-too-large` beyond
 *   {@link MAX_QUORUMS} quorums, {@link MAX_QUORUM_MEMBERS} members of one or {@link MAX_DEPOSITARIES} of all.
 */
export function minimalQuorums(shape: Shape): readonly Quorum[] {
  const quorums = sufficient(shape);
  if (quorums.length === 0) throw new EscrowError('quorum-impossible');
  const isTooLarge =
    quorums.length > MAX_QUORUMS ||
    quorums.some((members) => members.length > MAX_QUORUM_MEMBERS) ||
    new Set(quorums.flat()).size > MAX_DEPOSITARIES;
  if (isTooLarge) {
    throw new EscrowError('quorum-too-large');
  }
  return [...quorums].sort((a, b) => compare(a.join(' '), b.join(' ')));
}

/** Everybody who is in one of the quorums, once, in lexical order. */
export function depositariesIn(quorums: readonly Quorum[]): readonly PrincipalId[] {
  return [...new Set(quorums.flat())].sort(compare);
}

function sufficient(shape: Shape): readonly Quorum[] {
  if ('one' in shape) return [[shape.one]];
  // chosen[k]: the minimal sets that satisfy k of the branches seen so far
  let chosen: (readonly Quorum[])[] = [[[]]];
  for (const branch of shape.of) {
    const sets = sufficient(branch);
    chosen = Array.from({ length: Math.min(chosen.length, shape.atLeast) + 1 }, (_, k) =>
      minimal([
        ...(chosen[k] ?? []),
        ...(k === 0
          ? []
          : (chosen[k - 1] ?? []).flatMap((base) =>
              sets.filter((set) => isApart(base, set)).map((set) => union(base, set)),
            )),
      ]),
    );
  }
  return chosen[shape.atLeast] ?? [];
}

function isApart(a: Quorum, b: Quorum): boolean {
  return !a.some((member) => b.includes(member));
}

function union(a: Quorum, b: Quorum): Quorum {
  return [...a, ...b].sort(compare);
}

/** Drops doubles and every set that contains another. */
function minimal(sets: readonly Quorum[]): readonly Quorum[] {
  if (sets.length > MAX_CANDIDATES) throw new EscrowError('quorum-too-large');
  const distinct = [...new Map(sets.map((set) => [set.join(' '), set])).values()];
  return distinct.filter(
    (set) =>
      !distinct.some((other) => other.length < set.length && other.every((member) => set.includes(member))),
  );
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
