import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Names where a run of jest keeps the provision that its suites copy. */
export const PROVISION_VARIABLE = 'ESCROWD_TEST_PROVISION';

/** Where the first suite that needs it leaves what the others copy; the workers inherit the variable. Removed at the end. */
function globalSetup(): void {
  const place = mkdtempSync(join(tmpdir(), 'escrowd-provision-'));
  process.env[PROVISION_VARIABLE] = place;
  process.once('exit', () => {
    rmSync(place, { recursive: true, force: true });
  });
}

export { globalSetup as default };
