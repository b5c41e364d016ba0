import type { WitnessPins } from '../client/log/witnessPins.js';
import { UsageError } from './failures.js';
import type { CommandArguments } from './commandArguments.js';

/** The witnesses that `--witness` and `--require` name; undefined when neither was given. */
export function witnessesIn(given: CommandArguments): WitnessPins | undefined {
  const keys = given.list('witness');
  const require = given.find('require') === undefined ? undefined : given.count('require');
  if (keys.length === 0 && require === undefined) return undefined;
  if (keys.length === 0 || require === undefined) {
    throw new UsageError(
      '--witness and --require belong together',
      'give each witness, and how many must have cosigned',
    );
  }
  if (require > keys.length) {
    throw new UsageError(
      `--require ${require} of ${keys.length} witnesses`,
      'require at most as many as are named',
    );
  }
  return { keys, require };
}
