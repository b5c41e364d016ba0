import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';

import { exitOf } from '../card.js';
import type { CommandRow, Result } from '../command.js';
import type { ExitName } from '../exitCodes.js';
import { UsageError } from '../failures.js';
import type { CommandArguments } from '../commandArguments.js';
import type { Session } from '../session.js';

/** What concerns the token itself, on a machine that has it. */
export const tokenCommands: readonly CommandRow[] = [
  {
    usage: 'probe',
    summary: 'tries what a token does and refuses, against what its profile claims',
    about:
      'Every verb at every kind of key, and every attack that a token must refuse. Prints a table for an auditor.\n' +
      'Needs the token and its user PIN, not the server. Exit code 5: the token is not as its profile claims.',
    options: [
      {
        flags: '--profile <name or file>',
        about: 'the token profile: a name in hsm-config, or a path',
        required: true,
      },
      { flags: '--label <label>', about: 'the label of the token', required: true },
      { flags: '--module <file>', about: "the PKCS#11 module, when it is not where the profile's paths say" },
      { flags: '--token-conf <file>', about: 'the configuration of SoftHSM (SOFTHSM2_CONF)' },
      { flags: '--env <NAME=VALUE>', about: 'a variable for the module', many: true },
      { flags: '--user-pin-file <file>', about: 'read the user PIN from here instead of asking' },
    ],
    examples: [
      'token probe --profile softhsm-2.6 --label escrowd --token-conf softhsm2.conf > probe.txt',
      'token probe --profile nss-softokn-3 --label escrowd --env NSS_CONFIG_DIR=/var/lib/nss --json',
    ],
    run: probe,
  },
];

async function probe(session: Session, given: CommandArguments): Promise<Result> {
  const { code, out } = await runProbe(join(session.programs, 'token', 'probe', 'main.js'), given);
  const exit = PROBE_EXITS[code ?? -1];
  if (exit === undefined) throw new UsageError('the token could not be tried', 'see what is said above');
  return { json: undefined, lines: [], raw: out, exit };
}

/** The probe is a program of its own: nothing in escrowctl can load a token's module. */
const PROBE_EXITS: Readonly<Record<number, ExitName>> = { 0: 'ok', 1: 'disbelieved' };

async function runProbe(
  program: string,
  given: CommandArguments,
): Promise<{ readonly code: number | null; readonly out: Buffer }> {
  const named = ['profile', 'label', 'module', 'token-conf', 'user-pin-file'] as const;
  const options = named.flatMap((name) => {
    const value = given.find(name.replace(/-(.)/g, (_dash, letter: string) => letter.toUpperCase()));
    return value === undefined ? [] : [`--${name}=${value}`];
  });
  const variables = given.list('env').map((pair) => `--env=${pair}`);
  const json = given.flag('json') ? ['--json'] : [];
  const child = spawn(process.execPath, [program, ...options, ...variables, ...json], {
    stdio: ['inherit', 'pipe', 'inherit'],
  });
  const [out, code] = await Promise.all([buffer(child.stdout), exitOf(child)]);
  return { code, out };
}
