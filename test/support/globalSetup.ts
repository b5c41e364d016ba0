import { runSeed } from './chance.ts';
import { makeReadyPrimes } from './readyPrimes.ts';
import { runDirectory } from './runDirectory.ts';

/**
 * Draws the seed of the run, unless one is set, and makes the directory of what its suites copy. The workers inherit both
 * variables, and the umask: what suites make is not to be refused for who can write it, whatever is usual on the machine.
 */
function globalSetup(): void {
  process.umask(0o022);
  runSeed();
  runDirectory();
  makeReadyPrimes();
}

export { globalSetup as default };
