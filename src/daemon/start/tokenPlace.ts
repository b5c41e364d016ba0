import type { Config } from '../config.js';
import { isFull } from '../../system/diskRoom.js';
import { cautionsOf, type FileSystem, placeOf, UnusablePlace } from '../../system/place.js';
import { findModule } from '../../token/cryptoki/module.js';
import { softHsmTokens } from '../../token/cryptoki/softHsmFiles.js';
import type { TokenProfile } from '../../token/profile/profile.js';
import { ConfigError } from './configError.js';
import type { Fault } from './fault.js';

/** With less the token does not even prove itself. An object of SoftHSM has some 2 KB, in blocks of 4. */
const NEEDED_BYTES = 256 * 1024;
/** A thousand grants. */
const WANTED_BYTES = 4 * 1024 * 1024;

/**
 * Looks whether a token whose objects are files (SoftHSM) can be written: grants and one-time keys are made in it, and SoftHSM itself
 * says only that something has failed. Resolves with what somebody should see to. Of other tokens nothing is said.
 *
 * @throws ConfigError when the only token that there is cannot be written, or has no room
 */
export function lookAtTokenPlace(
  { token: { module, environment, allowSpy } }: Pick<Config, 'token'>,
  profile: TokenProfile,
  fileSystemAt?: (path: string) => FileSystem,
): readonly Fault[] {
  const path = moduleOf(profile, module, allowSpy);
  if (path === undefined) return [];
  const tokens = softHsmTokens(path, { ...process.env, ...environment });
  const seen = tokens.flatMap((directory) => lookAt(directory, fileSystemAt));
  const faults = seen.filter(({ isFatal }) => isFatal);
  // which of several it is, its label alone says
  if (tokens.length === 1 && faults.length > 0) throw new ConfigError(faults.map(({ fault }) => fault));
  return seen.map(({ fault }) => fault);
}

/** Whether a token whose objects are files cannot write any more, asked anew each time; never of other tokens. */
export function tokenIsFull(
  { token: { module, environment, allowSpy } }: Pick<Config, 'token'>,
  profile: TokenProfile,
): () => boolean {
  return () => {
    const path = moduleOf(profile, module, allowSpy);
    return (
      path !== undefined &&
      softHsmTokens(path, { ...process.env, ...environment }).some((directory) => isFull(directory))
    );
  };
}

function lookAt(
  directory: string,
  fileSystemAt?: (path: string) => FileSystem,
): readonly { readonly fault: Fault; readonly isFatal: boolean }[] {
  const where = `token: ${directory}`;
  try {
    const place = placeOf(directory, fileSystemAt);
    const isFatal = place.freeBytes < NEEDED_BYTES;
    // what is forgotten later matters nothing where nothing can be written now
    const about = isFatal ? { ...place, forgets: undefined } : place;
    return cautionsOf(about, WANTED_BYTES).map(({ what, remedy }) => ({
      fault: { where, what, do: remedy },
      isFatal,
    }));
  } catch (error) {
    if (!(error instanceof UnusablePlace)) throw error;
    return [{ fault: { where, what: error.message, do: error.remedy }, isFatal: true }];
  }
}

/** Undefined where there is none: whoever opens the token says so. */
function moduleOf(profile: TokenProfile, named: string | undefined, allowSpy: boolean): string | undefined {
  try {
    return findModule(profile, named, allowSpy ? 'spy allowed' : 'spy refused');
  } catch {
    return undefined;
  }
}
