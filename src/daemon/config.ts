import { dirname, isAbsolute, resolve } from 'node:path';

import { parse as parseYaml } from 'yaml';
import type { z } from 'zod';

import { parseWitnessKeys } from '../log/note/cosignature.js';
import { NoteError } from '../log/note/noteKey.js';
import { messageOf } from '../system/errors.js';
import { ConfigError } from './start/configError.js';
import { configSchema } from './configSchema.js';
import { readText } from './start/namedFiles.js';
import { withPaths } from './notificationsConfig.js';
import { credentialFaults, credentialOf } from './start/pinCredential.js';
import {
  databaseFaults,
  databaseUrlsOf,
  type Environment,
  type FileNamed,
  filesNamedIn,
} from './start/environment.js';
import type { Fault } from './start/fault.js';

/**
 * What the daemon runs with. Paths are absolute: in the file they are relative to the file itself. Lengths of time
 * are in milliseconds. `databaseUrl` comes from the environment (DATABASE_URL) and takes the place of the private
 * cluster in `database.directory`; `databaseOwnerUrl` (DATABASE_OWNER_URL) is the role that may change the schema;
 * `environmentFiles` are those that the environment names.
 */
export type Config = z.output<typeof configSchema> & {
  readonly databaseUrl: string | undefined;
  readonly databaseOwnerUrl: string | undefined;
  readonly environmentFiles: readonly FileNamed[];
  readonly searchPath: string | undefined;
};

/**
 * Reads and checks the configuration file (YAML).
 *
 * @throws ConfigError naming the file and the member at fault.
 */
export function readConfig(file: string, environment: Environment): Config {
  const parsed = configSchema.safeParse(readYaml(file));
  if (!parsed.success) {
    throw new ConfigError([
      ...parsed.error.issues.map(({ path: at, message }) => ({
        where: [file, at.join('.')].filter(Boolean).join(': '),
        what: message,
        do: 'correct it: docs/operations.md has each member',
      })),
      ...databaseFaults(environment),
    ]);
  }
  const config = parsed.data;
  const faults = [
    ...addressFaults(file, config),
    ...witnessFaults(file, config.witnesses),
    ...credentialFaults(file, config.token.pinFile, environment),
    ...spyFaults(file, config.token, environment),
    ...databaseFaults(environment),
  ];
  if (faults.length > 0) throw new ConfigError(faults);
  const at = (relative: string): string => resolve(dirname(resolve(file)), relative);
  return {
    ...config,
    tls: { certificate: at(config.tls.certificate), key: at(config.tls.key) },
    administrators: at(config.administrators),
    token: {
      ...config.token,
      ...(config.token.record === undefined ? {} : { record: at(config.token.record) }),
      ...(config.token.module === undefined ? {} : { module: at(config.token.module) }),
      pinFile: credentialOf(config.token.pinFile, environment) ?? at(config.token.pinFile),
      environment: Object.fromEntries(
        Object.entries(config.token.environment).map(([name, value]) => [
          name,
          value.startsWith('./') ? at(value) : value,
        ]),
      ),
    },
    database: {
      ...config.database,
      directory: at(config.database.directory),
      ...(config.database.binaries === undefined ? {} : { binaries: at(config.database.binaries) }),
    },
    witnesses: config.witnesses.map((each) => (each.ca === undefined ? each : { ...each, ca: at(each.ca) })),
    notifications: withPaths(config.notifications, at),
    ...databaseUrlsOf(environment),
    environmentFiles: filesNamedIn(environment),
    searchPath: environment['PATH'],
  };
}

/** Two listeners cannot have one address; while a daemon serves there, nothing else would tell. */
function addressFaults(
  file: string,
  { listen, management }: Pick<Config, 'listen' | 'management'>,
): readonly Fault[] {
  if (management === 'off' || listen.port === 0) return [];
  if (listen.port !== management.port || listen.host !== management.host) return [];
  return [
    {
      where: `${file}: management`,
      what: 'it is the address of the API (listen)',
      do: 'name another management.port, such as the next one',
    },
  ];
}

/** Each witness once: one that stood there twice would be asked twice and count once. */
function witnessFaults(
  file: string,
  witnesses: readonly { readonly key: { readonly vkey: string } }[],
): readonly Fault[] {
  try {
    parseWitnessKeys(witnesses.map(({ key }) => key.vkey));
    return [];
  } catch (error) {
    if (!(error instanceof NoteError)) throw error;
    return [{ where: `${file}: witnesses`, what: error.message, do: 'take one of the two away' }];
  }
}

/** pkcs11-spy writes the PIN down; its variables have no place where a daemon runs, whatever module is configured. */
function spyFaults(
  file: string,
  token: { readonly environment: Readonly<Record<string, string>>; readonly allowSpy: boolean },
  environment: Environment,
): readonly Fault[] {
  const where = [
    ...(token.environment['PKCS11SPY'] === undefined ? [] : [`${file}: token.environment`]),
    ...(environment['PKCS11SPY'] === undefined ? [] : ['the environment']),
  ];
  if (where.length === 0 || token.allowSpy) return [];
  const what = 'PKCS11SPY is set: a spy on the token writes the PIN down';
  return [{ where: where.join(' and '), what, do: 'take it away, and change the PIN if it was ever used' }];
}

/** The file of a token profile: a path, or the name of one in `hsm-config`. */
export function profileFile(name: string, packageDirectory: string, configFile: string): string {
  if (isAbsolute(name)) return name;
  if (name.includes('/')) return resolve(dirname(resolve(configFile)), name);
  return resolve(packageDirectory, 'hsm-config', `${name}.yaml`);
}

function readYaml(file: string): unknown {
  const text = readText(file, 'save it as UTF-8');
  try {
    return parseYaml(text);
  } catch (error) {
    const what = `it cannot be read as YAML: ${messageOf(error)}`;
    throw new ConfigError([{ where: file, what, do: 'correct the file' }], { cause: error });
  }
}
