import { readFileSync, statSync } from 'node:fs';
import { dirname, isAbsolute, join, resolve } from 'node:path';

import { parse as parseYaml } from 'yaml';
import { z } from 'zod';

import { DEFAULT_OPEN_REQUESTS } from '../escrow/rules/openRequests.js';
import { MAX_POLICY_SIGNATURES, POLICY_QUORUM } from '../escrow/rules/policySignatures.js';
import { maximumWitnesses, parseWitnessKey, parseWitnessKeys } from '../log/note/cosignature.js';
import { NoteError } from '../log/note/noteKey.js';
import { decodeText } from '../log/entry/plainText.js';
import { databaseFaults, databaseUrlsOf, type Environment } from './start/environment.js';
import { type Fault, inWords } from './start/fault.js';
import { codeOf, messageOf } from '../system/errors.js';
import { notificationsSchema, withPaths } from './notificationsConfig.js';
import { LOG_LEVELS } from './operatorLog.js';

/** The configuration, or what it names, cannot be used; `message` is for the operator, `faults` the same in parts. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';

  constructor(
    readonly faults: readonly Fault[],
    options?: ErrorOptions,
  ) {
    super(faults.map(inWords).join('. '), options);
  }
}

/**
 * Does all of these, so that what is wrong with any of them is said at once.
 *
 * @throws ConfigError with the faults of all; what else one of them throws goes through
 */
export function allOf<const T extends readonly unknown[]>(works: { readonly [K in keyof T]: () => T[K] }): T {
  const failed: ConfigError[] = [];
  const results = works.map((work) => {
    try {
      return work();
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      failed.push(error);
      return undefined;
    }
  });
  const [first, ...others] = failed;
  if (first === undefined) return results as unknown as T;
  throw others.length === 0 ? first : new ConfigError(failed.flatMap(({ faults }) => faults));
}

const path = z.string().min(1).max(1024);
const milliseconds = z.int().min(1).max(86_400_000);

/** Somebody who cosigns the log: its C2SP vkey, and where it is asked. */
const witness = z.strictObject({
  key: z
    .string()
    .max(512)
    .transform((vkey, context) => {
      try {
        return parseWitnessKey(vkey);
      } catch (error) {
        const message = error instanceof NoteError ? error.message : 'not a verifier key';
        context.addIssue({ code: 'custom', message });
        return z.NEVER;
      }
    }),
  url: z.url({ protocol: /^https?$/, hostname: /./ }).max(1024),
  ca: path.optional(),
});

const schema = z.strictObject({
  origin: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9./_-]{0,127}$/),
  listen: z.strictObject({ host: z.string().min(1), port: z.int().min(0).max(65_535) }),
  management: z
    .union([
      z.literal('off'),
      z.strictObject({
        host: z.string().min(1).default('127.0.0.1'),
        port: z.int().min(0).max(65_535).default(8444),
      }),
    ])
    .prefault({}),
  tls: z.strictObject({ certificate: path, key: path }),
  token: z.strictObject({
    profile: path,
    label: z.string().min(1).max(32),
    pinFile: path,
    record: path.optional(),
    module: path.optional(),
    environment: z.record(z.string().regex(/^[A-Z][A-Z0-9_]*$/), z.string()).default({}),
    acceptUnenforced: z.array(z.string()).default([]),
    selfTest: z.enum(['full', 'quick']).default('full'),
    waitMs: milliseconds.default(10_000),
    probeMs: milliseconds.default(1_000),
    hangMs: milliseconds.default(60_000),
    maxGrants: z.int().min(1).max(10_000_000).optional(),
    recycleAfterObjects: z.int().min(0).default(100_000),
    pairProcess: z.boolean().default(true),
    allowSpy: z.boolean().default(false),
  }),
  administrators: path,
  policyFloor: z.int().min(POLICY_QUORUM).max(MAX_POLICY_SIGNATURES).default(POLICY_QUORUM),
  database: z
    .strictObject({
      directory: path.default('postgres'),
      binaries: path.optional(),
      runAs: z.string().optional(),
      waitMs: milliseconds.default(10_000),
      startMs: milliseconds.default(60_000),
    })
    .prefault({}),
  drills: z
    .strictObject({
      /** How long a share counts as drilled: then its depositary is asked again. */
      everyDays: z.int().min(1).max(3660).default(90),
    })
    .prefault({}),
  logLevel: z.enum(LOG_LEVELS).default('info'),
  requests: z
    .strictObject({
      contentionMs: milliseconds.default(5_000),
      drainMs: milliseconds.default(15_000),
      receiveMs: milliseconds.default(30_000),
      answerMs: milliseconds.default(60_000),
      maxBodyBytes: z.int().min(1024).max(1_048_576).default(262_144),
      atOnce: z.int().min(1).max(100_000).default(256),
      connections: z.int().min(1).max(1_000_000).default(2048),
      handshakeMs: milliseconds.default(5_000),
      perCaller: z
        .strictObject({
          perSecond: z.number().min(1).max(1_000_000).default(500),
          burst: z.int().min(1).max(1_000_000).default(1000),
          atOnce: z.int().min(1).max(100_000).default(64),
        })
        .prefault({}),
      refusals: z
        .strictObject({
          burst: z.int().min(1).max(1_000_000).default(60),
          perMinute: z.number().min(0).max(1_000_000).default(12),
        })
        .prefault({}),
      openRecoveries: z
        .strictObject({
          perRequester: z.int().min(1).max(1_000_000).default(DEFAULT_OPEN_REQUESTS.perRequester),
          perKey: z.int().min(1).max(1_000_000).default(DEFAULT_OPEN_REQUESTS.perKey),
        })
        .prefault({}),
      perAddress: z
        .strictObject({
          perSecond: z.number().min(1).max(1_000_000).default(200),
          burst: z.int().min(1).max(1_000_000).default(2000),
          connections: z.int().min(1).max(1_000_000).default(256),
        })
        .prefault({}),
      unknownBytes: z
        .strictObject({
          perSecond: z.int().min(1024).max(1_073_741_824).default(4_194_304),
          burst: z.int().min(65_536).max(1_073_741_824).default(16_777_216),
        })
        .prefault({}),
    })
    .prefault({}),
  housekeepingMs: milliseconds.default(5_000),
  inventoryMs: milliseconds.default(600_000),
  anchorMs: milliseconds.default(60_000),
  accessLog: z.boolean().default(true),
  surveyMs: milliseconds.default(60_000),
  witnesses: z.array(witness).max(maximumWitnesses).default([]),
  witnessing: z
    .strictObject({ timeoutMs: milliseconds.default(5_000), intervalMs: milliseconds.default(1_000) })
    .prefault({}),
  notifications: notificationsSchema,
});

/** What may stand in the file. */
export { schema as configSchema };

/**
 * What the daemon runs with. Paths are absolute: in the file they are relative to the file itself. Lengths of time
 * are in milliseconds. `databaseUrl` comes from the environment (DATABASE_URL) and takes the place of the private
 * cluster in `database.directory`; `databaseOwnerUrl` (DATABASE_OWNER_URL) is the role that may change the schema.
 */
export type Config = z.output<typeof schema> & {
  readonly databaseUrl: string | undefined;
  readonly databaseOwnerUrl: string | undefined;
  readonly searchPath: string | undefined;
};

/**
 * Reads and checks the configuration file (YAML).
 *
 * @throws ConfigError naming the file and the member at fault.
 */
export function readConfig(file: string, environment: Environment): Config {
  const parsed = schema.safeParse(readYaml(file));
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
    },
    witnesses: config.witnesses.map((each) => (each.ca === undefined ? each : { ...each, ca: at(each.ca) })),
    notifications: withPaths(config.notifications, at),
    ...databaseUrlsOf(environment),
    searchPath: environment['PATH'],
  };
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

/** NAME of `credential:NAME`; undefined when the PIN is in a file of its own. */
function credentialName(pinFile: string): string | undefined {
  return /^credential:(.*)$/s.exec(pinFile)?.[1];
}

function credentialFaults(file: string, pinFile: string, environment: Environment): readonly Fault[] {
  const name = credentialName(pinFile);
  const where = `${file}: token.pinFile`;
  if (name === undefined) return [];
  if (!/^[^/]+$/.test(name) || name.startsWith('.')) {
    const what = `"${name}" is no name of a credential`;
    return [{ where, what, do: 'write it as LoadCredential= of the unit has it, without a path' }];
  }
  if (environment['CREDENTIALS_DIRECTORY'] === undefined) {
    const what = `systemd has given no credentials (LoadCredential=${name}:...)`;
    const remedy = 'start it as a service whose unit has that line, or name a file';
    return [{ where, what, do: remedy }];
  }
  return [];
}

/** The file that `credential:NAME` means: a credential that systemd has loaded for this service (systemd.exec(5)). */
function credentialOf(pinFile: string, environment: Environment): string | undefined {
  const [name, directory] = [credentialName(pinFile), environment['CREDENTIALS_DIRECTORY']];
  return name === undefined || directory === undefined ? undefined : join(directory, name);
}

/** The file of a token profile: a path, or the name of one in `hsm-config`. */
export function profileFile(name: string, packageDirectory: string, configFile: string): string {
  if (isAbsolute(name)) return name;
  if (name.includes('/')) return resolve(dirname(resolve(configFile)), name);
  return resolve(packageDirectory, 'hsm-config', `${name}.yaml`);
}

/**
 * Reads a secret of one line. Only its owner may be able to read the file. Of a credential of systemd the bits of the group are the
 * mask of the access list by which the service's user reads it (acl(5)), and not a group's.
 *
 * @param credentials the directory of systemd's credentials for this service (systemd.exec(5)), where there is one
 * @throws ConfigError when it cannot be read, is empty, or others may read it.
 */
export function readSecretFile(
  file: string,
  credentials: string | undefined = process.env['CREDENTIALS_DIRECTORY'],
): Buffer {
  let bytes: Buffer;
  const isCredential = credentials !== undefined && dirname(resolve(file)) === resolve(credentials);
  try {
    if ((statSync(file).mode & (isCredential ? 0o037 : 0o077)) !== 0) {
      throw new ConfigError([
        { where: file, what: 'it can be read by others than its owner', do: `run: chmod 600 ${file}` },
      ]);
    }
    bytes = readFileSync(file);
  } catch (error) {
    if (error instanceof ConfigError) throw error;
    throw unreadable(file, error);
  }
  let end = bytes.length;
  while (end > 0 && (bytes[end - 1] === 0x0a || bytes[end - 1] === 0x0d)) end -= 1;
  if (end === 0)
    throw new ConfigError([{ where: file, what: 'it is empty', do: 'write the secret into it, one line' }]);
  return bytes.subarray(0, end);
}

/** What is thrown for a file that is not there, or that may not be read. */
export function unreadable(file: string, cause: unknown): ConfigError {
  const why: Readonly<Record<string, Omit<Fault, 'where'>>> = {
    ENOENT: { what: 'it is not there', do: 'put it there, or name another file in the configuration' },
    EACCES: {
      what: 'the user of the daemon may not read it',
      do: 'let that user read it, and its directory',
    },
    EISDIR: { what: 'it is a directory', do: 'name a file' },
  };
  const fault = why[codeOf(cause) ?? ''] ?? { what: messageOf(cause), do: 'see what has become of it' };
  return new ConfigError([{ where: file, ...fault, what: `it cannot be read: ${fault.what}` }], { cause });
}

function readYaml(file: string): unknown {
  let bytes: Buffer;
  try {
    bytes = readFileSync(file);
  } catch (error) {
    throw unreadable(file, error);
  }
  try {
    return parseYaml(decodeText(bytes, file));
  } catch (error) {
    const what = `it cannot be read as YAML: ${messageOf(error)}`;
    throw new ConfigError([{ where: file, what, do: 'correct the file' }], { cause: error });
  }
}
