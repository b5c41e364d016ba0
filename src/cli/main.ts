#!/usr/bin/env node
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { EXIT_CODES } from './exitCodes.js';
import { runEscrowctl } from './program.js';
import { processTerminal } from './terminal.js';

let isServing = false;
const interrupted = new Promise<void>((resolve) => {
  process.on('SIGINT', () => {
    if (!isServing) resolve();
  });
});

const exit = await runEscrowctl(process.argv.slice(2), {
  terminal: processTerminal(),
  variables: process.env,
  now: () => new Date(),
  programs: join(dirname(fileURLToPath(import.meta.url)), '..'),
  stopped,
  interrupted,
});
// what was broken off is still under way, and would keep the process
if (exit === EXIT_CODES.interrupted.code) process.exit(exit);
process.exitCode = exit;

function stopped(): Promise<void> {
  isServing = true;
  return new Promise((resolve) => {
    for (const name of ['SIGTERM', 'SIGINT'] as const)
      process.once(name, () => {
        resolve();
      });
  });
}
