import { readFile } from 'node:fs/promises';

import { parseDocument } from 'yaml';

import { type Config, profileFile, readConfig } from '../daemon/config.js';
import { startPrivateCluster } from '../daemon/privateCluster.js';
import type { Connection } from '../postgres/connection.js';
import { runningCluster } from '../privatePostgres/running.js';
import { messageOf } from '../system/errors.js';
import { findModule } from '../token/cryptoki/module.js';
import { readProfile } from '../token/profile/profile.js';
import { versionLine } from '../version.js';
import { type AddFile, writeArchive } from './archive.js';
import { copyConfiguration } from './configuration.js';
import { copyDatabase } from '../postgres/databaseCopy.js';
import { BackupError } from './faults.js';
import type { About, Manifest } from './manifest.js';
import { progress } from './progress.js';
import { readTokenFiles, tokensIn } from './tokenFiles.js';

export interface BackupOrder {
  readonly configFile: string;
  /** Where the backup goes: a file that is not there yet. */
  readonly to: string;
  /** Age recipients; none leaves it as it is, readable by its owner alone. */
  readonly recipients: readonly string[];
  readonly packageDirectory: string;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly now: Date;
  readonly tell: (line: string) => void;
}

/**
 * Backs up an escrowd, while it serves or not: the token first, where it is SoftHSM's, so that the database is never older than what
 * the token remembers of it; then the database as one transaction sees it; configuration and records. Never a PIN or another secret
 * file.
 *
 * @throws BackupError, ConfigError, ClusterError: there is no backup then.
 */
export async function makeBackup(
  order: BackupOrder,
): Promise<{ readonly about: About; readonly manifest: Manifest }> {
  const { configFile, packageDirectory, tell } = order;
  const config = await readConfiguration(order);
  const softHsmConfiguration = softHsmOf(config, order);
  return withDatabase(config, order, async (database) => {
    let about: About | undefined;
    const manifest = await writeArchive(order.to, order.recipients, async (add) => {
      const count = progress(tell);
      let pieces = 0;
      const told: AddFile = async (path, content) => {
        await add(path, content);
        count(path, content);
      };
      const files =
        softHsmConfiguration === undefined
          ? []
          : await readTokenFiles(await tokensIn(softHsmConfiguration), config.token.label);
      const isTokenIncluded = softHsmConfiguration !== undefined;
      const source = { config, configFile, packageDirectory, isTokenIncluded };
      const { rows, checkpoint } = await copyDatabase(
        database,
        async (migrations) => {
          about = {
            format: 'escrowd-backup-1',
            program: versionLine('escrowd'),
            madeAt: order.now.toISOString(),
            origin: config.origin,
            migrations: [...migrations],
            token: { label: config.token.label, included: isTokenIncluded },
          };
          await add('about.json', Buffer.from(`${JSON.stringify(about, null, 2)}\n`));
          for (const { path, content } of files) await told(`token/${path}`, content);
        },
        (table, piece) => {
          pieces += 1;
          return told(`database/${table}/${String(pieces).padStart(8, '0')}`, piece);
        },
      );
      const secrets = await copyConfiguration(source, told);
      return { checkpoint, rows: { ...rows }, secrets: [...secrets] };
    });
    if (about === undefined) throw new BackupError('the database has said nothing of itself');
    return { about, manifest };
  });
}

/** A PIN that systemd gives to the service is not there for whoever makes a backup, and not needed. */
async function readConfiguration({ configFile, environment }: BackupOrder): Promise<Config> {
  const config = readConfig(configFile, { CREDENTIALS_DIRECTORY: '/nonexistent', ...environment });
  const pinFile: unknown = parseDocument(await readFile(configFile, 'utf8')).getIn(['token', 'pinFile']);
  if (typeof pinFile !== 'string' || !pinFile.startsWith('credential:')) return config;
  return { ...config, token: { ...config.token, pinFile } };
}

/** SoftHSM's configuration, when the token is one of its own: a token in files, which can be copied. */
function softHsmOf(
  { token }: Config,
  { packageDirectory, configFile, environment }: BackupOrder,
): string | undefined {
  const profile = readProfile(profileFile(token.profile, packageDirectory, configFile));
  if (!/softhsm/i.test(findModule(profile, token.module, 'spy allowed'))) return undefined;
  const configuration = token.environment['SOFTHSM2_CONF'] ?? environment['SOFTHSM2_CONF'];
  if (configuration !== undefined) return configuration;
  throw new BackupError(
    'the configuration does not say where that of SoftHSM is: name it in token.environment.SOFTHSM2_CONF',
  );
}

/** The server of DATABASE_URL; else the private cluster, whose server is started when no daemon runs it. */
async function withDatabase<T>(
  config: Config,
  { packageDirectory, tell }: BackupOrder,
  work: (database: Connection) => Promise<T>,
): Promise<T> {
  if (config.databaseUrl !== undefined) return work(config.databaseUrl);
  const running = await runningCluster(config.database.directory);
  if (running !== undefined) return work(running.daemon);
  const log = { info: tell, warn: tell };
  const cluster = await startPrivateCluster(config, packageDirectory, log, ({ cause }) => {
    tell(`the database was lost: ${messageOf(cause)}`);
  });
  try {
    return await work(cluster.daemon);
  } finally {
    await cluster.stop();
  }
}
