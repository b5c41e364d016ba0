import { mkdir, readdir, rm } from 'node:fs/promises';
import { basename, join } from 'node:path';

import { startPrivateCluster } from '../daemon/privateCluster.js';
import type { ClusterConnections } from '../privatePostgres/connections.js';
import { readPaths } from '../privatePostgres/paths.js';
import { messageOf } from '../system/errors.js';
import { replaceFile, writeNewFile } from '../system/files.js';
import { readArchive } from './archive.js';
import { progress } from './progress.js';
import { CLUSTER, CONFIGURATION, SOFTHSM_CONFIGURATION, withTokensIn } from './configuration.js';
import { type DatabaseFilling, fillDatabase } from '../postgres/databaseCopy.js';
import { BackupError } from './faults.js';
import { type About, type Manifest, parseAbout } from './manifest.js';
import { writeTokenFile } from './tokenFiles.js';

export interface RestoreOrder {
  readonly from: string;
  /** Age identities, for a backup that is encrypted. */
  readonly identities: readonly string[];
  /** A directory that is not there yet, or empty. */
  readonly to: string;
  /** The server that takes the database, by both its roles; without it, a private cluster in the directory. */
  readonly server: { readonly ownerUrl: string; readonly daemonUrl: string } | undefined;
  readonly packageDirectory: string;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly tell: (line: string) => void;
}

/** What was restored. */
export interface Restored {
  readonly about: About;
  readonly manifest: Manifest;
  readonly configFile: string;
}

const TOKENS = 'tokens';

/**
 * Restores a backup into a directory of its own, which holds all that it needs but the secrets: nothing outside of it is touched, but
 * the server that was named. The configuration comes last, when everything was found to be what the manifest says: without it
 * nothing starts.
 *
 * @throws BackupError, ClusterError: the directory is then as it was, and the server's database empty.
 */
export async function restoreBackup(order: RestoreOrder): Promise<Restored> {
  const { to } = order;
  await requireEmpty(to);
  const undo: (() => Promise<unknown>)[] = [() => removeAll(to)];
  try {
    await mkdir(to, { recursive: true, mode: 0o700 });
    const restored = await fill(order, undo);
    undo.shift();
    return restored;
  } finally {
    for (const step of undo.reverse()) await step().catch(() => undefined);
  }
}

/** `undo` gets what is to be done in the end, last first; the first of it only when it fails. */
async function fill(order: RestoreOrder, undo: (() => Promise<unknown>)[]): Promise<Restored> {
  const { from, identities, to, tell } = order;
  let about: About | undefined;
  let filling: DatabaseFilling | undefined;
  const count = progress(tell);
  const configuration = new Map<string, Buffer>();
  const manifest = await readArchive(from, identities, async (path, content) => {
    if (about === undefined) {
      if (path !== 'about.json') throw new BackupError(`${from} does not begin with what it is of`);
      about = parseAbout(content);
      const { owner, daemon } = await database(order, undo);
      const opened = await fillDatabase(owner, daemon, about.migrations);
      undo.push(() => opened.close());
      filling = opened;
      return;
    }
    count(path, content);
    const [room, name = '', ...rest] = path.split('/');
    if (room === 'configuration') configuration.set(basename(path), content);
    else if (room === 'token')
      await writeTokenFile(join(to, TOKENS), { path: [name, ...rest].join('/'), content });
    else {
      await filling?.add(name, content);
    }
  });
  if (about === undefined || filling === undefined) throw new BackupError(`${from} is empty`);
  await filling.commit(manifest.rows);
  await writeConfiguration(to, configuration);
  return { about, manifest, configFile: join(to, CONFIGURATION) };
}

async function database(
  { to, server, packageDirectory, environment, tell }: RestoreOrder,
  undo: (() => Promise<unknown>)[],
): Promise<ClusterConnections | { readonly owner: string; readonly daemon: string }> {
  if (server !== undefined) return { owner: server.ownerUrl, daemon: server.daemonUrl };
  const log = { info: tell, warn: tell };
  const config = { database: { directory: join(to, CLUSTER), waitMs: 0 }, searchPath: environment['PATH'] };
  const cluster = await startPrivateCluster(config, packageDirectory, log, ({ cause }) => {
    tell(`the database was lost: ${messageOf(cause)}`);
  });
  undo.push(() => cluster.stop());
  return cluster;
}

/** The daemon's configuration last. */
async function writeConfiguration(to: string, files: ReadonlyMap<string, Buffer>): Promise<void> {
  for (const [name, content] of files) {
    if (name === CONFIGURATION) continue;
    const isOfToken = name === SOFTHSM_CONFIGURATION;
    const text = isOfToken ? withTokensIn(content.toString('utf8'), join(to, TOKENS)) : content;
    await writeNewFile(join(to, name), text, 0o600);
  }
  const last = files.get(CONFIGURATION);
  if (last === undefined) throw new BackupError('the backup holds no configuration');
  await replaceFile(join(to, CONFIGURATION), last, 0o600);
}

async function requireEmpty(directory: string): Promise<void> {
  const found = await readdir(directory).catch(() => []);
  if (found.length > 0)
    throw new BackupError(`${directory} is not empty: a backup is restored into a directory of its own`);
}

/** Also what of the cluster lies elsewhere, where the server's user can reach it. */
export async function removeAll(directory: string): Promise<void> {
  const paths = await readPaths(join(directory, CLUSTER)).catch(() => undefined);
  if (paths !== undefined) await rm(paths.home, { recursive: true, force: true });
  await rm(directory, { recursive: true, force: true });
}
