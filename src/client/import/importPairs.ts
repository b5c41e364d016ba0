import { ServerProblem } from '../errors.js';
import { AT_ONCE, type ImportBasis, type LendPair, preparePair } from './importOne.js';
import type { ImportPair } from './importPair.js';

/** With these an import key is used up, or was not there any more. */
const USED_UP: ReadonlySet<string> = new Set([
  'import-key-gone',
  'import-malformed',
  'import-mismatch',
  'token-object-missing',
]);

/** Less is not enough to begin with. */
const LEFT_MS = 60_000;

/**
 * Import keys for several imports, one after the other. One that was made for an import which the server refused before it used
 * anything up is lent to the next: a person has a few at once, and each stands for a while.
 */
export function importPairs(basis: ImportBasis): LendPair {
  let left: ImportPair | undefined;
  const takeLeft = (): ImportPair | undefined => {
    const pair = left;
    left = undefined;
    return pair !== undefined && pair.expiresAt.getTime() - basis.now().getTime() > LEFT_MS
      ? pair
      : undefined;
  };
  const lendThis = async <T>(pair: ImportPair, use: (pair: ImportPair) => Promise<T>): Promise<T> => {
    try {
      return await use(pair);
    } catch (error) {
      if (error instanceof ServerProblem && error.status < 500 && !USED_UP.has(error.code)) left = pair;
      throw error;
    }
  };
  return async (use) => {
    const pair = takeLeft();
    try {
      if (pair !== undefined) return await lendThis(pair, use);
    } catch (error) {
      if (!(error instanceof ServerProblem) || error.code !== 'import-key-gone') throw error;
    }
    return lendThis((await preparePair(basis, AT_ONCE)).pair, use);
  };
}
