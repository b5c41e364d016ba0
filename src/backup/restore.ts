import { readdir, rename, rm, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';

import { startPrivateCluster } from '../daemon/privateCluster.js';
import type { ClusterConnections } from '../privatePostgres/connections.js';
import { readPaths } from '../privatePostgres/paths.js';
import { codeOf, fileReason, messageOf } from '../system/errors.js';
import { writeNewFile } from '../system/files.js';
import { readArchive } from './archive.js';
import { progress } from './progress.js';
import { CLUSTER, CONFIGURATION, SOFTHSM_CONFIGURATION } from './configuration.js';
import { type DatabaseFilling, fillDatabase } from '../postgres/databaseCopy.js';
import { BackupError } from './faults.js';
import { type About, type Manifest, parseAbout } from './manifest.js';
import { configurationFor, writeTokenFile } from './tokenFiles.js';
import { Undo } from './undo.js';
import { makeDirectories } from '../system/place.js';

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
  /** Ends it before the next file of the backup; what was begun is taken back. */
  readonly stop: AbortSignal;
}

/** What was restored. */
export interface Restored {
  readonly about: About;
  readonly manifest: Manifest;
  readonly configFile: string;
  /** Keys that the log says were born, and of which no deposit is there as it was logged. */
  readonly lost: readonly string[];
}

const TOKENS = 'tokens';

/**
 * Restores a backup into a directory of its own, which holds all that it needs but the secrets: nothing outside of it is touched, but
 * the server that was named. The daemon's configuration comes last, when everything was found to be what the manifest says: without
 * it nothing starts.
 *
 * @throws BackupError, CopyRefused, ClusterError: the directory is then as it was, and no row in the server's database.
 */
export async function restoreBackup(order: RestoreOrder): Promise<Restored> {
  const { to } = order;
  const undo = new Undo();
  const isThere = await isOwnAndEmpty(to);
  await makeDirectories(to, 0o700).catch((error: unknown) => {
    throw new BackupError(`${to} cannot be made: ${fileReason(error)}`, { cause: error });
  });
  let isDone = false;
  undo.add(async () => {
    if (!isDone) await removeAll(to, isThere);
  });
  try {
    const restored = await fill(order, undo);
    isDone = true;
    return restored;
  } finally {
    await undo.run();
  }
}

async function fill(order: RestoreOrder, undo: Undo): Promise<Restored> {
  const { from, identities, to, tell, stop } = order;
  let about: About | undefined;
  let filling: DatabaseFilling | undefined;
  const count = progress(tell);
  const configuration = new Map<string, Buffer>();
  const manifest = await readArchive(from, identities, async (path, content) => {
    requireGoingOn(stop);
    if (about === undefined) {
      if (path !== 'about.json') throw new BackupError(`${from} does not begin with what it is of`);
      about = parseAbout(content);
      const { owner, daemon } = await database(order, undo);
      const opened = await fillDatabase(owner, daemon, about.migrations);
      undo.add(() => opened.close());
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
  const { included } = about.token;
  if (included) configuration.set(SOFTHSM_CONFIGURATION, Buffer.from(configurationFor(join(to, TOKENS))));
  const last = await writeConfiguration(to, configuration);
  const lost = await filling.lostKeys();
  requireGoingOn(stop);
  await filling.commit(manifest.rows);
  await last();
  return { about, manifest, configFile: join(to, CONFIGURATION), lost };
}

/** Throws {@link BackupError}. */
export function requireGoingOn(stop: AbortSignal): void {
  if (stop.aborted) throw new BackupError('ended before it was done; what was begun is taken back');
}

async function database(
  { to, server, packageDirectory, environment, tell }: RestoreOrder,
  undo: Undo,
): Promise<ClusterConnections | { readonly owner: string; readonly daemon: string }> {
  if (server !== undefined) return { owner: server.ownerUrl, daemon: server.daemonUrl };
  const log = { info: tell, warn: tell };
  const config = { database: { directory: join(to, CLUSTER), waitMs: 0 }, searchPath: environment['PATH'] };
  const cluster = await startPrivateCluster(config, packageDirectory, log, ({ cause }) => {
    tell(`the database was lost: ${messageOf(cause)}`);
  });
  undo.add(() => cluster.stop());
  return cluster;
}

/** All but the daemon's configuration; that is written when what this resolves with is called, and only gets its name then. */
async function writeConfiguration(
  to: string,
  files: ReadonlyMap<string, Buffer>,
): Promise<() => Promise<void>> {
  const last = files.get(CONFIGURATION);
  if (last === undefined) throw new BackupError('the backup holds no configuration');
  for (const [name, content] of files)
    if (name !== CONFIGURATION) await writeNewFile(join(to, name), content, 0o600);
  const draft = join(to, `${CONFIGURATION}.restored`);
  await writeNewFile(draft, last, 0o600);
  return () => rename(draft, join(to, CONFIGURATION));
}

/** Whether there is a directory already: an empty one, which nobody else can write. Throws {@link BackupError}. */
async function isOwnAndEmpty(directory: string): Promise<boolean> {
  let found: readonly string[];
  try {
    found = await readdir(directory);
  } catch (cause) {
    if (codeOf(cause) === 'ENOENT') return false;
    throw new BackupError(`${directory} cannot be restored into: ${messageOf(cause)}`, { cause });
  }
  if (found.length > 0)
    throw new BackupError(`${directory} is not empty: a backup is restored into a directory of its own`);
  const { uid, mode } = await stat(directory);
  if (uid !== (process.getuid?.() ?? uid) || (mode & 0o022) !== 0)
    throw new BackupError(
      `${directory} can be written by others: a backup is restored into a directory of its own`,
    );
  return true;
}

/** Also what of the cluster lies elsewhere, where the server's user can reach it; the directory itself, unless it `stays`. */
export async function removeAll(directory: string, stays = false): Promise<void> {
  const paths = await readPaths(join(directory, CLUSTER)).catch(() => undefined);
  if (paths !== undefined) await rm(paths.home, { recursive: true, force: true });
  if (!stays) return rm(directory, { recursive: true, force: true });
  for (const name of await readdir(directory))
    await rm(join(directory, name), { recursive: true, force: true });
}
