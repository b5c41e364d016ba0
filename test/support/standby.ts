import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { Client } from 'pg';

import { chooseBinaries, systemPatterns } from '../../src/privatePostgres/binaries.js';
import { startCluster } from '../../src/privatePostgres/cluster.js';
import type { ConnectionSettings } from '../../src/privatePostgres/lock.js';
import { migrate } from '../../src/postgres/schema/migrate.js';
import { placeOf } from './databaseCopies.js';
import { CLUSTER, freshCluster, MIGRATE_MS } from './freshCluster.js';
import { freePort } from './freePort.js';
import { runDirectory } from './runDirectory.js';
import { until } from './waiting.js';

/** One of the two servers. */
export interface PairedServer {
  readonly port: number;
  readonly owner: ConnectionSettings;
  readonly daemon: ConnectionSettings;
  /** Starts it as what its files say, and waits until it answers. */
  start(): Promise<void>;
  /** Ends it at once, with all connections, as a crash would. */
  crash(): Promise<void>;
  /** Makes the primary of a standby. */
  promote(): Promise<void>;
}

/** A primary with a schema, and its synchronous standby: what is acknowledged stands on both. */
export interface ServerPair {
  readonly primary: PairedServer;
  readonly standby: PairedServer;
  /** The URL of both, in this order, for one of the roles. */
  urlOf(order: readonly PairedServer[], role: 'owner' | 'daemon'): string;
  remove(): Promise<void>;
}

/** Starts both, on ports of this machine. */
export async function startServerPair(): Promise<ServerPair> {
  const top = mkdtempSync(join(tmpdir(), 'escrowd-pair-'));
  chmodSync(top, 0o755);
  const directory = join(top, 'cluster');
  await freshCluster(directory, 'migrated');
  const cluster = await startCluster({ ...CLUSTER, directory, sharedDirectory: join(top, 'shared') });
  await migrate(cluster.owner, cluster.daemon.user, MIGRATE_MS);
  await cluster.stop();
  const { data } = await placeOf(directory);
  const { uid, gid } = statSync(data);
  const binaries = await chooseBinaries({
    ...{ configured: undefined, searchPath: process.env['PATH'], systemPatterns, neededMajor: undefined },
    ...{ packageDirectory: process.cwd(), copyInto: runDirectory(), user: undefined, timeoutMs: 60_000 },
  });
  const rules = join(top, 'pg_hba.conf');
  writeFileSync(
    rules,
    `local all postgres trust\nlocal replication postgres trust\nhost all all 127.0.0.1/32 scram-sha-256\n`,
    { mode: 0o644 },
  );

  const server = async (name: string, more: readonly string[]): Promise<PairedServer> => {
    const [place, port] = [join(top, name), await freePort()];
    execFileSync('cp', ['-a', data, place]);
    let child: ChildProcess | undefined;
    const on = (role: 'owner' | 'daemon'): ConnectionSettings => ({
      ...cluster[role],
      host: '127.0.0.1',
      port,
    });
    const given = [
      ...['listen_addresses=127.0.0.1', `port=${port}`, `unix_socket_directories=${place}`],
      ...[`hba_file=${rules}`, 'shared_buffers=16MB', 'max_connections=50', 'max_wal_senders=4'],
      // before its first start: the files of a stopped server are a base backup
      ...['wal_level=replica', 'password_encryption=scram-sha-256', ...more],
    ];
    const isPrimary = async (): Promise<boolean> => {
      const client = new Client({ host: place, port, user: 'postgres', database: 'postgres', ssl: false });
      client.on('error', () => undefined);
      try {
        await client.connect();
        const { rows } = await client.query<{ is: boolean }>('select pg_is_in_recovery() as is');
        return rows[0]?.is === false;
      } finally {
        await client.end().catch(() => undefined);
      }
    };
    const answers = (): Promise<void> =>
      until(() =>
        isPrimary().then(
          () => true,
          () => false,
        ),
      );
    return {
      port,
      owner: on('owner'),
      daemon: on('daemon'),
      start: async () => {
        const args = ['-D', place, ...given.flatMap((each) => ['-c', each])];
        child = spawn(join(binaries.directory, 'postgres'), args, {
          ...{ uid, gid, cwd: '/', env: {}, stdio: 'ignore' },
        });
        await answers();
      },
      crash: async () => {
        const running = child;
        if (running?.exitCode !== null) return;
        const exit = new Promise((resolve) => running.once('exit', resolve));
        running.kill('SIGQUIT');
        await exit;
      },
      // as `pg_ctl promote` does
      promote: async () => {
        writeFileSync(join(place, 'promote'), '');
        child?.kill('SIGUSR1');
        await until(isPrimary);
      },
    };
  };
  const primary = await server('primary', ['synchronous_standby_names=standby']);
  const standby = await server('standby', [
    `primary_conninfo=host=${join(top, 'primary')} port=${primary.port} user=postgres application_name=standby`,
  ]);
  const signal = join(top, 'standby', 'standby.signal');
  writeFileSync(signal, '');
  execFileSync('chown', [`${uid}:${gid}`, signal]);
  await primary.start();
  await standby.start();
  return {
    primary,
    standby,
    urlOf: (order, role) => {
      const { user, password, database } = primary[role];
      const hosts = order.map(({ port }) => `127.0.0.1:${port}`).join(',');
      return `postgresql://${user}:${encodeURIComponent(password)}@${hosts}/${database}?target_session_attrs=read-write`;
    },
    remove: async () => {
      await standby.crash();
      await primary.crash();
      rmSync(top, { recursive: true, force: true });
    },
  };
}
