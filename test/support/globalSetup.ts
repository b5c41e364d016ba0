import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { runSeed } from './chance.ts';

/** Names where a run of jest keeps the provision that its suites copy. */
export const PROVISION_VARIABLE = 'ESCROWD_TEST_PROVISION';

/**
 * Draws the seed of the run, unless one is set. Says where the first suite that needs it leaves what the others copy, which
 * is removed at the end. The workers inherit both variables.
 */
function globalSetup(): void {
  runSeed();
  const place = mkdtempSync(join(tmpdir(), 'escrowd-provision-'));
  process.env[PROVISION_VARIABLE] = place;
  process.once('exit', () => {
    rmSync(place, { recursive: true, force: true });
  });
}

export { globalSetup as default };
