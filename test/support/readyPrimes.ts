import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { runDirectory } from './runDirectory.ts';

/** `searched`: SoftHSM looks for the primes of its RSA pairs itself, as in production, and so do the tests. */
const VARIABLE = 'ESCROWD_TEST_PRIMES';
const LENGTHS = [1024, 1536, 2048];

/** What makes pairs of ready primes in a process that loads it, in their directory. */
export const LIBRARY = 'readyPrimes.so';
/** For tokens and for people a file for each length in bits; in each a prime in hex per line. They are secret to nobody. */
export const PRIMES = join(process.cwd(), 'test', 'fixtures', 'primes');

/** Where it is written which pairs are taken in this run, unless primes are searched for. */
export function readyPrimesDirectory(): string | undefined {
  const directory = join(runDirectory(), 'primes');
  return existsSync(directory) ? directory : undefined;
}

/**
 * Has every SoftHSM of this run make its RSA pairs of ready primes, each pair once (readyPrimes.c): the search took a third
 * of the CPU of a run. Only how the numbers are found differs: the token makes, marks and keeps its objects as ever. On other
 * systems than Linux it searches.
 */
export function makeReadyPrimes(): void {
  if (process.env[VARIABLE] === 'searched' || process.platform !== 'linux') return;
  if (readyPrimesDirectory() !== undefined) return; // a run within a run
  const directory = join(runDirectory(), 'primes');
  const library = join(directory, LIBRARY);
  mkdirSync(directory);
  // a token's process may run as another user
  for (const bits of LENGTHS) {
    const taken = join(directory, String(bits));
    writeFileSync(taken, '');
    chmodSync(taken, 0o666);
  }
  const how = ['-shared', '-fPIC', '-O1', '-Wl,-z,nodelete'];
  const paths = [`-DPRIMES="${join(PRIMES, 'token')}"`, `-DTAKEN="${directory}"`];
  execFileSync('gcc', [...how, ...paths, '-o', library, join(__dirname, 'readyPrimes.c')]);
  // for the workers and whatever they start
  process.env['LD_PRELOAD'] = [process.env['LD_PRELOAD'], library].filter(Boolean).join(' ');
}
