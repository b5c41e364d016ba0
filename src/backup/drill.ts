import { execFile } from 'node:child_process';
import { dirname, join } from 'node:path';
import { Writable } from 'node:stream';
import { promisify } from 'node:util';
import winston from 'winston';

import { type Config, readConfig } from '../daemon/config.js';
import { startDaemon } from '../daemon/daemon.js';
import type { OperatorLog } from '../daemon/operatorLog.js';
import { PAIR_PROGRAM } from '../pairProgram.js';
import { messageOf } from '../system/errors.js';
import { SIGNING_PROGRAM } from '../token/cryptoki/signingThread.js';
import { BackupError } from './faults.js';
import { CLUSTER, SOFTHSM_CONFIGURATION } from './configuration.js';
import { requireGoingOn, type Restored } from './restore.js';

/** What a restored system did when it was started. */
export interface DrillReport {
  /** Entries of the log, which holds against its checkpoint and what the token remembers of it. */
  readonly entries: number;
  readonly keys: number;
  /** Token objects that the records name and the token of the backup does not hold: grants and one-time keys made after it. */
  readonly missing: readonly string[];
}

/** What the program that tries a backup says of the token itself: an archive is not asked which code is loaded. */
export interface DrillParts {
  /** The user PIN, in a file that only its owner can read. */
  readonly pinFile: string;
  /** Needed for a token profile that does not come with the program. */
  readonly profile: string | undefined;
  readonly packageDirectory: string;
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Ends it before the system is started. */
  readonly stop: AbortSignal;
}

/**
 * Starts the restored system by itself, with the restored token, and stops it again: the token proves itself, the log is checked
 * against its checkpoint and the token's anchor, and house is kept once. It listens on a port of this host that nobody was told of,
 * tells nobody and asks no witness. Of the restored configuration nothing says which module is loaded, or where its token lies.
 *
 * @throws BackupError when the token is not in the backup, keys have no deposit, or the system does not start: with why.
 */
export async function drill(
  { about, manifest, configFile, lost }: Restored,
  { pinFile, profile, packageDirectory, environment, stop }: DrillParts,
): Promise<DrillReport> {
  if (!about.token.included)
    throw new BackupError(
      'the token is not in this backup: restore it with a token of its own, never with the one in use, and start the daemon there',
    );
  if (lost.length > 0)
    throw new BackupError(
      `of ${lost.length} keys the backup has no deposit as it was logged: ${lost.slice(0, MOST_NAMED).join(', ')}`,
    );
  const directory = dirname(configFile);
  const lines: Line[] = [];
  try {
    await ownCertificate(directory);
    const ownDatabase = { DATABASE_URL: undefined, DATABASE_OWNER_URL: undefined };
    const config = readConfig(configFile, { ...environment, ...ownDatabase });
    const token = withoutModule(config.token);
    const named = profile ?? config.token.profile;
    if (profile === undefined && named.includes('/'))
      throw new BackupError(
        'the token profile is not one of those that come with escrowd: name it (--profile FILE)',
      );
    requireGoingOn(stop);
    const daemon = await startDaemon({
      config: {
        ...config,
        listen: { host: '127.0.0.1', port: 0 },
        management: 'off',
        tls: { certificate: join(directory, 'drill.crt'), key: join(directory, 'drill.key') },
        token: {
          ...token,
          profile: named,
          pinFile,
          allowSpy: false,
          environment: { SOFTHSM2_CONF: join(directory, SOFTHSM_CONFIGURATION) },
        },
        database: {
          directory: join(directory, CLUSTER),
          waitMs: config.database.waitMs,
          startMs: config.database.startMs,
        },
        witnesses: [],
        notifications: { allowHosts: [], pollMs: config.notifications.pollMs, webhooks: [] },
      },
      ...{ configFile, packageDirectory },
      ...{ pairProgram: PAIR_PROGRAM, signingProgram: SIGNING_PROGRAM },
      log: keepingLog(lines),
    });
    await daemon.stop();
    requireGoingOn(stop);
  } catch (error) {
    if (error instanceof BackupError) throw error;
    throw new BackupError(`the restored system does not start: ${messageOf(error)}`, { cause: error });
  }
  const missing = lines.find(({ alarm }) => alarm === 'token-object-missing')?.objects ?? '';
  return {
    entries: manifest.rows['log_entry'] ?? 0,
    keys: manifest.rows['deposit'] ?? 0,
    missing: missing.split(' ').filter((name) => name !== ''),
  };
}

/** So many keys are named, at most. */
const MOST_NAMED = 8;

/** The module is then looked for where the profile says. */
function withoutModule(token: Config['token']): Config['token'] {
  const members = Object.entries(token).filter(([name]) => name !== 'module');
  return Object.fromEntries(members) as Config['token'];
}

interface Line {
  readonly alarm?: string;
  readonly objects?: string;
}

function keepingLog(lines: Line[]): OperatorLog {
  const stream = new Writable({
    write: (chunk: Buffer, _encoding, done) => {
      lines.push(JSON.parse(chunk.toString('utf8')) as Line);
      done();
    },
  });
  return winston.createLogger({
    level: 'info',
    format: winston.format.json(),
    // eslint-disable-next-line @typescript-eslint/no-unsafe-class-instance-assignment -- winston's own transport, by its own types
    transports: [new winston.transports.Stream({ stream })],
  });
}

async function ownCertificate(directory: string): Promise<void> {
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  const files = ['-keyout', join(directory, 'drill.key'), '-out', join(directory, 'drill.crt')];
  await promisify(execFile)('openssl', [
    'req',
    '-x509',
    ...key,
    '-days',
    '1',
    '-subj',
    '/CN=drill',
    ...files,
  ]);
}
