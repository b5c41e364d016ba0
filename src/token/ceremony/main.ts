#!/usr/bin/env node
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { TokenNotReady } from '../cryptoki/faults.js';
import { ceremonyCommands } from './commands.js';
import { CeremonyRefused } from './ceremonySession.js';

const profiles = join(dirname(fileURLToPath(import.meta.url)), '..', '..', '..', 'hsm-config');

/** Exit codes: 0 done, 1 refused or failed. The reason goes to the standard error, without a stack. */
try {
  await ceremonyCommands(profiles, (text) => process.stdout.write(text)).parseAsync();
} catch (error) {
  const known = error instanceof CeremonyRefused || error instanceof TokenNotReady;
  const cause = error instanceof Error && error.cause instanceof Error ? ` (${error.cause.message})` : '';
  const said = error instanceof Error ? error.message : String(error);
  process.stderr.write(known ? `error: ${said}\n` : `error: the ceremony failed: ${said}${cause}\n`);
  process.exitCode = 1;
}
