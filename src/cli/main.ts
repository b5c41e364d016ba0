#!/usr/bin/env node
import { runEscrowctl } from './program.js';
import { processTerminal } from './terminal.js';

process.exitCode = await runEscrowctl(process.argv.slice(2), {
  terminal: processTerminal(),
  variables: process.env,
  now: () => new Date(),
});
