import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Command } from 'commander';
import type { ModuleEnvironment } from '../cryptoki/module.js';
import { softHsmFault } from '../cryptoki/softHsmFiles.js';
import { readProfile } from '../profile/profile.js';
import { type TokenLocation, CeremonyRefused } from './ceremonySession.js';

/** Which token a command is about, as typed. */
export interface TokenOptions {
  readonly profile: string;
  readonly label: string;
  readonly module?: string;
  readonly tokenConf?: string;
  readonly env?: readonly string[];
}

/** Gives a command the options that say which token it is about. */
export function withTokenOptions(command: Command): Command {
  return command
    .requiredOption('--profile <name or file>', 'the token profile: a name in hsm-config, or a path')
    .requiredOption('--label <label>', 'the label of the token, at most 32 bytes')
    .option('--module <file>', "the PKCS#11 module, when it is not where the profile's paths say")
    .option('--token-conf <file>', 'the configuration of SoftHSM (SOFTHSM2_CONF)')
    .option(
      '--env <NAME=VALUE>',
      'a variable for the module, as in token.environment of the configuration; may stand several times',
      (value: string, before: readonly string[] | undefined) => [...(before ?? []), value],
    );
}

/**
 * Reads those options; `profiles` is the folder of the token profiles. What is missing of SoftHSM's files is said now, and not when
 * somebody has typed PINs.
 * @throws CeremonyRefused
 */
export function readTokenLocation(profiles: string, options: TokenOptions): TokenLocation {
  const environment = readEnvironment(options);
  const profile = readProfile(profileFile(profiles, options.profile));
  const module = options.module ?? profile.modules.find((path) => existsSync(path)) ?? '';
  const missing = softHsmFault(module, { ...process.env, ...environment });
  if (missing !== undefined) throw new CeremonyRefused(missing);
  return {
    profile,
    label: options.label,
    ...(options.module === undefined ? {} : { modulePath: options.module }),
    environment,
  };
}

function readEnvironment({ tokenConf, env = [] }: TokenOptions): ModuleEnvironment {
  const named = env.map((pair) => {
    const [, name, value] = /^([A-Z][A-Z0-9_]*)=(.*)$/s.exec(pair) ?? [];
    if (name === undefined || value === undefined)
      throw new CeremonyRefused(`--env wants NAME=VALUE, not "${pair}".`);
    return [name, value] as const;
  });
  const conf = tokenConf === undefined ? {} : { SOFTHSM2_CONF: resolve(tokenConf) };
  return { ...conf, ...Object.fromEntries(named) };
}

function profileFile(profiles: string, name: string): string {
  const file = name.includes('/') || existsSync(name) ? name : join(profiles, `${name}.yaml`);
  if (!existsSync(file)) throw new CeremonyRefused(`There is no token profile ${file}.`);
  return file;
}
