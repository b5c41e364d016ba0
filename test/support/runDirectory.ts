import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Names where a run of tests keeps what its suites copy. */
const VARIABLE = 'ESCROWD_TEST_RUN_DIRECTORY';

/** The directory of this run: the one that is set, or one that is made, set, and removed when this process ends. */
export function runDirectory(): string {
  const given = process.env[VARIABLE];
  if (given !== undefined) return given;
  const made = mkdtempSync(join(tmpdir(), 'escrowd-run-'));
  chmodSync(made, 0o755); // the database's user must reach what is in it
  process.env[VARIABLE] = made;
  process.once('exit', () => {
    rmSync(made, { recursive: true, force: true });
  });
  return made;
}
