import { runSeed } from './chance.ts';
import { runDirectory } from './runDirectory.ts';

/**
 * Draws the seed of the run, unless one is set, and makes the directory of what its suites copy. The workers inherit both
 * variables.
 */
function globalSetup(): void {
  runSeed();
  runDirectory();
}

export { globalSetup as default };
