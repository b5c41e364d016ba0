import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { parse, stringify } from 'yaml';

import type { Identity } from '../../src/client/identity/identity.js';
import { runTs } from '../support/runTs.js';
import { SOFTHSM_PROFILE_FILE } from '../support/softhsm.js';
import type { System } from '../support/system.js';

/** Another daemon with the token of a system, as a process of its own: where it serves, or how it ended. */
export interface SecondDaemon {
  readonly said: () => string;
  readonly url: Promise<string | undefined>;
  readonly exit: Promise<number | null>;
  /** As an operator stops it. */
  stop(): Promise<void>;
}

let started = 0;

/** Starts it with the configuration of the system, but for `database`, and with these variables in its environment. */
export function secondDaemon(
  system: System,
  database: Readonly<Record<string, unknown>>,
  environment: Readonly<Record<string, string>> = {},
): SecondDaemon {
  const config = parse(readFileSync(system.configFile, 'utf8')) as Record<string, Record<string, unknown>>;
  config['token'] = { ...config['token'], profile: SOFTHSM_PROFILE_FILE };
  config['database'] = database;
  const file = join(system.directory, `second-${(started += 1)}.yaml`);
  writeFileSync(file, stringify(config));
  const main = join(__dirname, '..', '..', 'src', 'main.ts');
  const child = runTs(main, { args: ['--config', file], environment });
  let said = '';
  const exit = once(child, 'exit').then(([code]) => code as number | null);
  const url = new Promise<string | undefined>((resolve) => {
    child.stdout?.on('data', (chunk: Buffer) => {
      said += chunk.toString();
      const found = /"url":"(https:\/\/127\.0\.0\.1:\d+)"/.exec(said)?.[1];
      if (found !== undefined) resolve(found);
    });
    void exit.then(() => {
      resolve(undefined);
    });
  });
  return { said: () => said, url, exit, stop: () => ended(child) };
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill('SIGTERM');
  await once(child, 'exit');
}

/** The system, as who knows it finds the daemon at this address. */
export function at(system: System, url: string): System {
  return {
    ...system,
    identity: (name) => {
      const { directory: people, pins, signer } = system.identity(name);
      // eslint-disable-next-line @typescript-eslint/no-unsafe-class-instance-assignment -- what is asked of it to send a request
      return { directory: people, pins: { ...pins, server: url }, signer } as Identity;
    },
  };
}
