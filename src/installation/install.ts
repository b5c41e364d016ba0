import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';

import { PolicyDocumentError } from '../client/errors.js';
import { checkPolicyDocument } from '../client/policy/policyDocument.js';
import { readPolicyFile } from '../client/policy/policyFile.js';
import { profileFile, readConfig } from '../daemon/config.js';
import { ConfigError } from '../daemon/start/configError.js';
import { refuseExposedFiles } from '../daemon/exposedFiles.js';
import { readAdministrators } from '../daemon/readFiles.js';
import { readTlsPair } from '../daemon/start/tlsPair.js';
import { longestHome } from '../privatePostgres/paths.js';
import { messageOf } from '../system/errors.js';
import { makePrivateCa, makeRequest } from './certificates.js';
import { PATHS, configurationText } from './configuration.js';
import { databaseFiles } from './databaseFiles.js';
import { type InstallationOrder, InstallationRefused } from './order.js';
import { type Contents, type Owner, placeAll } from './place.js';
import { policyDraft } from './policyDraft.js';
import { type DaemonProgram, unitText } from './unit.js';

const PRIVATE = 0o600;
const PUBLIC = 0o644;
const OWN_DIRECTORY = 0o700;
const OPEN_DIRECTORY = 0o755;

/** A file or directory that was made; the path is relative to the directory of the installation. */
export interface Made {
  readonly path: string;
  readonly about: string;
}

/**
 * Makes everything that the order asks for, or nothing; never over what is there. The configuration, the administrators and the
 * policy were read back as the daemon and escrowctl read them.
 *
 * @throws InstallationRefused
 */
export async function install(order: InstallationOrder, program: DaemonProgram): Promise<readonly Made[]> {
  const owner = ownerOf(order.user);
  refuseUnusable(order, program);
  const contents = contentsOf(order, program);
  await placeAll(order.directory, contents, owner, async (staging) => {
    if (order.tls.kind === 'private-ca') makePrivateCa(staging, order.names);
    if (order.tls.kind === 'request') makeRequest(staging, order.names);
    await readBack(order, staging);
  });
  return madeOf(order);
}

function contentsOf(order: InstallationOrder, program: DaemonProgram): Contents {
  const { participants, token, tls, database, isForSystemd, hasPolicy, directory } = order;
  const administrators = participants.filter(({ roles }) => roles.includes('admin'));
  const database_ = database === undefined ? undefined : databaseFiles(database, directory);
  const own = (path: string): { path: string; mode: number } => ({ path, mode: OWN_DIRECTORY });
  return {
    directories: [
      own(PATHS.pins),
      own(PATHS.ceremony),
      ...(tls.kind === 'files' ? [] : [own(PATHS.tls)]),
      ...(token.isSoftHsm ? [own(PATHS.token), own(PATHS.tokens)] : []),
      ...(database_ === undefined ? [own(PATHS.cluster)] : [own(PATHS.database)]),
      ...(hasPolicy ? [{ path: PATHS.people, mode: OPEN_DIRECTORY }] : []),
    ],
    files: [
      { path: PATHS.configuration, mode: PUBLIC, content: configurationText(order) },
      {
        path: PATHS.administrators,
        mode: PUBLIC,
        content: json(administrators.map(({ id, part }) => ({ id, keys: part.keys }))),
      },
      ...(token.isSoftHsm
        ? [{ path: PATHS.softHsm, mode: PUBLIC, content: softHsmText(join(directory, PATHS.tokens)) }]
        : []),
      ...(hasPolicy
        ? [
            ...participants.map(({ id, part }) => ({
              path: `${PATHS.people}/${id}.json`,
              mode: PUBLIC,
              content: json(part),
            })),
            {
              path: PATHS.policy,
              mode: PUBLIC,
              content: policyDraft(
                participants,
                join(program.packageDirectory, 'docs', 'escrow.schema.json'),
              ),
            },
          ]
        : []),
      ...(database_ === undefined
        ? []
        : [
            { path: PATHS.roles, mode: PRIVATE, content: database_.rolesSql },
            { path: PATHS.passwords, mode: PRIVATE, content: database_.passwords },
            { path: PATHS.daemonEnvironment, mode: PRIVATE, content: database_.daemonEnvironment },
            { path: PATHS.ownerEnvironment, mode: PRIVATE, content: database_.ownerEnvironment },
          ]),
      ...(isForSystemd ? [{ path: PATHS.unit, mode: PUBLIC, content: unitText(order, program) }] : []),
    ],
    last: PATHS.configuration,
  };
}

function madeOf({ tls, token, database, hasPolicy, isForSystemd }: InstallationOrder): readonly Made[] {
  const made = (isMade: boolean, ...paths: readonly (readonly [string, string])[]): readonly Made[] =>
    isMade ? paths.map(([path, about]) => ({ path, about })) : [];
  return [
    ...made(true, [PATHS.configuration, 'the configuration of the daemon, with all settings']),
    ...made(true, [PATHS.administrators, 'the first administrators: keep it as it is']),
    ...made(
      hasPolicy,
      [PATHS.policy, 'a first draft of directory and rules'],
      [PATHS.people, 'the keys in it'],
    ),
    ...made(
      tls.kind === 'private-ca',
      [PATHS.ca, 'the CA, which clients believe'],
      [PATHS.caKey, 'its key: take it away'],
    ),
    ...made(
      tls.kind === 'private-ca',
      [PATHS.certificate, "the server's certificate"],
      [PATHS.key, 'its key'],
    ),
    ...made(tls.kind === 'request', [PATHS.request, 'the request for a certificate'], [PATHS.key, 'its key']),
    ...made(
      token.isSoftHsm,
      [PATHS.softHsm, "SoftHSM's configuration"],
      [PATHS.tokens, 'its tokens, none yet'],
    ),
    ...made(true, [PATHS.pins, 'for the user PIN'], [PATHS.ceremony, 'for the papers of the ceremony']),
    ...made(database === undefined, [PATHS.cluster, 'for the private PostgreSQL']),
    ...made(
      database !== undefined,
      [PATHS.roles, 'SQL that makes roles and database; no password in it'],
      [PATHS.passwords, 'their passwords'],
      [PATHS.daemonEnvironment, 'DATABASE_URL'],
      [PATHS.ownerEnvironment, 'DATABASE_OWNER_URL, for first start and upgrades'],
    ),
    ...made(isForSystemd, [PATHS.unit, 'the unit for systemd']),
  ];
}

/** As softhsm2.conf(5) has it. */
function softHsmText(tokens: string): string {
  return `# SoftHSM: software, for trying out. Whoever has these files and a PIN has the keys.
directories.tokendir = ${tokens}
objectstore.backend = file
log.level = ERROR
slots.removable = false
`;
}

function refuseUnusable(
  { directory, token, tls, origin, database, isForSystemd }: InstallationOrder,
  program: DaemonProgram,
): void {
  // a unit and its environment have no way to write some of these that every version of systemd reads alike
  const hard = isForSystemd || database !== undefined ? /[\p{Cc}"'\\$\s]/u : /[\p{Cc}"'\\$]/u;
  if (hard.test(directory))
    throw new InstallationRefused(
      `${JSON.stringify(directory)}: a path with blanks, quotes, "$" or a backslash is not taken; take another directory`,
    );
  if (!/^[A-Za-z0-9][A-Za-z0-9./_-]{0,127}$/.test(origin))
    throw new InstallationRefused(
      `--origin: "${origin}" is none: letters, digits, ".", "/", "_" and "-", at most 128, such as escrow.example.com/log`,
    );
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,31}$/.test(token.label))
    throw new InstallationRefused(
      `--label: "${token.label}" is none: letters, digits, ".", "_" and "-", at most 32`,
    );
  const profile = profileFile(token.profile, program.packageDirectory, join(directory, PATHS.configuration));
  if (!existsSync(profile)) throw new InstallationRefused(`--profile: there is no token profile ${profile}`);
  if (token.module !== undefined && !existsSync(token.module))
    throw new InstallationRefused(`--module: there is no PKCS#11 module ${token.module}`);
  const cluster = join(directory, PATHS.cluster);
  if (database === undefined && Buffer.byteLength(cluster) > longestHome)
    throw new InstallationRefused(
      `the path of the private PostgreSQL, ${cluster}, is longer than the name of a socket in it may be: ${longestHome} bytes. Take a shorter directory, or --database`,
    );
  if (tls.kind === 'files') refuseUnusableTls(tls);
}

function refuseUnusableTls(tls: { readonly certificate: string; readonly key: string }): void {
  const { chain } = (() => {
    try {
      return readTlsPair({ tls });
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      throw new InstallationRefused(`--tls-cert and --tls-key: ${error.message}`, { cause: error });
    }
  })();
  const { validTo } = chain[0];
  if (new Date(validTo) < new Date())
    throw new InstallationRefused(`--tls-cert: ${tls.certificate} was valid until ${validTo}`);
}

/** Reads what was written as those will who go by it. */
async function readBack(order: InstallationOrder, staging: string): Promise<void> {
  const file = join(staging, PATHS.configuration);
  try {
    const config = readConfig(file, { CREDENTIALS_DIRECTORY: join(staging, PATHS.pins) });
    refuseExposedFiles(config, file);
    readAdministrators(config.administrators);
    if (order.hasPolicy) checkPolicyDocument(await readPolicyFile(join(staging, PATHS.policy)));
  } catch (error) {
    if (error instanceof PolicyDocumentError)
      throw new InstallationRefused(`no policy can be made of these people: ${messageOf(error)}`, {
        cause: error,
      });
    if (!(error instanceof ConfigError)) throw error;
    throw new InstallationRefused(messageOf(error).replaceAll(staging, order.directory), { cause: error });
  }
}

/** Whom everything is given to: nobody but as root, since others make what is their own. @throws InstallationRefused */
function ownerOf(user: string): Owner | undefined {
  if (process.getuid?.() !== 0 || user === 'root') return undefined;
  try {
    const number = (flag: string): number =>
      Number(execFileSync('id', [flag, '--', user], { encoding: 'utf8', stdio: 'pipe' }));
    return { uid: number('-u'), gid: number('-g') };
  } catch (error) {
    throw new InstallationRefused(
      `there is no user ${user} to run the daemon as. Make one: useradd --system --home-dir /nonexistent --shell /usr/sbin/nologin ${user}; or name another: --user NAME`,
      { cause: error },
    );
  }
}

function json(value: unknown): string {
  return `${JSON.stringify(value, undefined, 2)}\n`;
}
