import { readFile } from 'node:fs/promises';

import { parseDocument } from 'yaml';

import type { Config } from '../daemon/config.js';
import { profileFile } from '../daemon/config.js';
import { messageOf } from '../system/errors.js';
import type { AddFile } from './archive.js';
import { BackupError } from './faults.js';

/** A file that the configuration names: by which member, where it is, and what it is called beside a restored configuration. */
interface NamedFile {
  readonly member: readonly (string | number)[];
  readonly path: string;
  readonly name: string;
  /** It is not copied: whoever has the backup would have it. */
  readonly isSecret?: true;
}

export const CONFIGURATION = 'escrowd.yaml';
export const SOFTHSM_CONFIGURATION = 'softhsm2.conf';
/** Where a restored private cluster lies. */
export const CLUSTER = 'postgres';

/** Whose configuration is copied, and what of the token goes with it. */
export interface ConfigurationSource {
  readonly config: Config;
  readonly configFile: string;
  readonly packageDirectory: string;
  /** Whether the token is in the backup too; else the restored configuration names none. */
  readonly isTokenIncluded: boolean;
}

/**
 * Copies the configuration and the files that it names, as `configuration/NAME`, so that it names them there. PIN, TLS key and other
 * secrets are left out: returns what they are called beside it.
 *
 * @throws BackupError naming the file that cannot be read.
 */
export async function copyConfiguration(
  source: ConfigurationSource,
  add: AddFile,
): Promise<readonly string[]> {
  const { configFile, isTokenIncluded } = source;
  const document = parseDocument((await contentOf(configFile)).toString('utf8'));
  const files = namedFiles(source);
  for (const { member, path, name, isSecret } of files) {
    // by its bare name a profile would be one of those that come with the program
    document.setIn(member, `./${name}`);
    if (isSecret !== true) await add(`configuration/${name}`, await contentOf(path));
  }
  document.setIn(['database', 'directory'], CLUSTER);
  if (document.hasIn(['notifications', 'file', 'path']))
    document.setIn(['notifications', 'file', 'path'], 'notices.ndjson');
  // who restores it says which token it is for: in a drill it must not be the one in use
  if (!isTokenIncluded) document.deleteIn(['token', 'label']);
  else document.setIn(['token', 'environment', 'SOFTHSM2_CONF'], `./${SOFTHSM_CONFIGURATION}`);
  await add(`configuration/${CONFIGURATION}`, Buffer.from(document.toString()));
  return files.flatMap(({ name, isSecret }) => (isSecret === true ? [name] : []));
}

function namedFiles({ config, configFile, packageDirectory }: ConfigurationSource): readonly NamedFile[] {
  const { tls, token, administrators, witnesses, notifications } = config;
  const isCredential = token.pinFile.startsWith('credential:');
  const { smtp } = notifications;
  return [
    { member: ['tls', 'certificate'], path: tls.certificate, name: 'server.crt' },
    { member: ['tls', 'key'], path: tls.key, name: 'server.key', isSecret: true },
    { member: ['administrators'], path: administrators, name: 'administrators.json' },
    ...optional(['token', 'record'], token.record, 'record.json'),
    ...(isCredential
      ? []
      : [{ member: ['token', 'pinFile'], path: token.pinFile, name: 'user.pin', isSecret: true } as const]),
    ...optional(
      ['token', 'profile'],
      token.profile.includes('/') ? profileFile(token.profile, packageDirectory, configFile) : undefined,
      'profile.yaml',
    ),
    ...witnesses.flatMap(({ ca }, at) => optional(['witnesses', at, 'ca'], ca, `witness-${at + 1}.ca.crt`)),
    ...notifications.webhooks.flatMap(({ name, ca, secretFiles }, at) => [
      ...optional(['notifications', 'webhooks', at, 'ca'], ca, `webhook-${name}.ca.crt`),
      ...secretFiles.map((path, place) => ({
        member: ['notifications', 'webhooks', at, 'secretFiles', place],
        path,
        name: `webhook-${name}-${place + 1}.secret`,
        isSecret: true as const,
      })),
    ]),
    ...optional(['notifications', 'smtp', 'ca'], smtp?.ca, 'smtp.ca.crt'),
    ...optional(
      ['notifications', 'smtp', 'credentials', 'passwordFile'],
      smtp?.credentials?.passwordFile,
      'smtp.password',
    ).map((file) => ({ ...file, isSecret: true as const })),
  ];
}

function optional(
  member: readonly (string | number)[],
  path: string | undefined,
  name: string,
): readonly NamedFile[] {
  return path === undefined ? [] : [{ member, path, name }];
}

async function contentOf(path: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (cause) {
    throw new BackupError(`${path}, which the configuration names, cannot be read: ${messageOf(cause)}`, {
      cause,
    });
  }
}
