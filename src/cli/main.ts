#!/usr/bin/env node
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { runEscrowctl } from './program.js';
import { processTerminal } from './terminal.js';

process.exitCode = await runEscrowctl(process.argv.slice(2), {
  terminal: processTerminal(),
  variables: process.env,
  now: () => new Date(),
  programs: join(dirname(fileURLToPath(import.meta.url)), '..'),
  stopped,
});

function stopped(): Promise<void> {
  return new Promise((resolve) => {
    for (const name of ['SIGTERM', 'SIGINT'] as const)
      process.once(name, () => {
        resolve();
      });
  });
}
