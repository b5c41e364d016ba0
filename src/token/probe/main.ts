#!/usr/bin/env node
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { CeremonyRefused } from '../ceremony/ceremonySession.js';
import { TokenNotReady } from '../cryptoki/faults.js';
import { probeCommand } from './commands.js';

const profiles = join(dirname(fileURLToPath(import.meta.url)), '..', '..', '..', 'hsm-config');
const setExit = (code: number): void => {
  process.exitCode = code;
};

/** Exit codes: 0 as claimed, 1 not as claimed, 2 it could not be tried. */
try {
  await probeCommand(profiles, (text) => process.stdout.write(text), setExit).parseAsync();
} catch (error) {
  const known = error instanceof CeremonyRefused || error instanceof TokenNotReady;
  const said = error instanceof Error ? error.message : String(error);
  process.stderr.write(known ? `error: ${said}\n` : `error: the probe failed: ${said}\n`);
  setExit(2);
}
