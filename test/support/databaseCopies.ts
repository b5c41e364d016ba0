import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { Client } from 'pg';

import type { Cluster } from '../../src/privatePostgres/cluster.js';
import { startCluster } from '../../src/privatePostgres/cluster.js';
import type { ConnectionSettings } from '../../src/privatePostgres/lock.js';
import type { ClusterPaths } from '../../src/privatePostgres/paths.js';
import { readPaths } from '../../src/privatePostgres/paths.js';
import { daemonRole } from '../../src/privatePostgres/initialise.js';
import { migrate } from '../../src/postgres/schema/migrate.js';
import { ownerOf } from './databaseDump.js';
import { CLUSTER } from './freshCluster.js';
import type { System } from './system.js';
import { until } from './waiting.js';

/*
 * Copies of a system's private database, made while its daemon and its server run: in the ways in which people make them, and
 * with PostgreSQL's own programs where they lie beside its server. The npm package brings the server alone; beside that the
 * same copies are made by what those programs do.
 */

/** Where `pg_dump`, `pg_restore` and `pg_basebackup` of the server's version lie; undefined where they do not. */
export type Programs = string | undefined;

/** Each makes the directory of another private cluster, at `to`, which a daemon can be configured with. */
export const COPIES = {
  'a dump': async (system, to, programs) => {
    const cluster = await startCluster({ ...CLUSTER, directory: to });
    try {
      const from = await ownerOf(system);
      if (programs === undefined) await copyRows(from, cluster);
      else dumpAndRestore(from, cluster.owner, { file: `${to}.dump`, programs });
    } finally {
      await cluster.stop();
    }
  },
  'a base backup': async (system, to, programs) => {
    const from = await placeOf(join(system.directory, 'postgres'));
    await asSuperuser(from, (client) =>
      programs === undefined ? copyBetween(from, to, client) : baseBackup(from, to, programs),
    );
  },
  'a snapshot of the files': snapshot,
} as const satisfies Record<string, (system: System, to: string, programs: Programs) => Promise<void>>;

function dumpAndRestore(
  from: ConnectionSettings,
  to: ConnectionSettings,
  { file, programs }: { readonly file: string; readonly programs: string },
): void {
  const run = (
    name: string,
    { host, user, password, database }: ConnectionSettings,
    more: string[],
  ): void => {
    execFileSync(join(programs, name), ['-h', host, '-U', user, '-d', database, ...more], {
      env: { PGPASSWORD: password },
    });
  };
  run('pg_dump', from, ['--format=custom', `--file=${file}`]);
  run('pg_restore', to, ['--exit-on-error', file]);
}

/** All rows as one transaction sees them, put into the tables of a new database. */
async function copyRows(from: ConnectionSettings, cluster: Cluster): Promise<void> {
  await migrate(cluster.owner, daemonRole, 60_000);
  const tables = await rowsOf(from);
  const client = new Client({ ...cluster.owner, ssl: false });
  await client.connect();
  try {
    const names = tables.map(({ name }) => name);
    for (const name of names) await client.query(`alter table ${name} disable trigger user`);
    await client.query(`truncate ${names.join(', ')}`);
    await restore(client, tables);
    for (const name of names) await client.query(`alter table ${name} enable trigger user`);
  } finally {
    await client.end();
  }
}

interface TableRows {
  readonly name: string;
  /** Those that hold something of their own, in SQL. */
  readonly columns: string;
  /** A JSON array. */
  readonly rows: string;
}

async function rowsOf(from: ConnectionSettings): Promise<readonly TableRows[]> {
  const client = new Client({ ...from, ssl: false });
  await client.connect();
  try {
    await client.query('begin isolation level repeatable read read only');
    const { rows: found } = await client.query<{ name: string }>(
      `select format('%I.%I', schemaname, tablename) as name from pg_tables
       where schemaname not in ('pg_catalog', 'information_schema') order by 1`,
    );
    const tables: TableRows[] = [];
    for (const { name } of found) {
      const [schema, table] = name.split('.');
      const { rows: columns } = await client.query<{ names: string }>(
        `select string_agg(format('%I', column_name), ', ') as names from information_schema.columns
         where table_schema = $1 and table_name = $2 and is_generated = 'NEVER'`,
        [schema, table],
      );
      const { rows } = await client.query<{ rows: string }>(
        `select coalesce(jsonb_agg(to_jsonb(t)), '[]')::text as rows from ${name} t`,
      );
      tables.push({ name, columns: columns[0]?.names ?? '', rows: rows[0]?.rows ?? '[]' });
    }
    return tables;
  } finally {
    await client.end();
  }
}

/** A table comes after those that its rows refer to. */
async function restore(client: Client, tables: readonly TableRows[]): Promise<void> {
  let left = tables;
  while (left.length > 0) {
    const refused: TableRows[] = [];
    for (const table of left) {
      const { name, columns, rows } = table;
      await client
        .query(
          `insert into ${name} (${columns}) overriding system value
           select ${columns} from jsonb_populate_recordset(null::${name}, $1)`,
          [rows],
        )
        .catch((error: unknown) => {
          if ((error as { code?: string }).code !== '23503') throw error;
          refused.push(table);
        });
    }
    if (refused.length === left.length) throw new Error(`cannot be restored: ${refused[0]?.name ?? ''}`);
    left = refused;
  }
}

/**
 * Lends a connection of the bootstrap superuser, who may start a backup: a private cluster has no rule that lets one in. Meanwhile the
 * server goes by these rules of pg_hba.conf as well.
 */
export async function asSuperuser(
  { home, data, socketDirectory }: ClusterPaths,
  work: (client: Client) => Promise<void>,
  more = '',
): Promise<void> {
  const rules = join(home, 'pg_hba.conf');
  const usual = readFileSync(rules, 'utf8');
  writeFileSync(rules, `local all postgres trust\nlocal replication postgres trust\n${more}${usual}`);
  const { pid } = postmasterOf(data);
  process.kill(pid, 'SIGHUP');
  const settings = { host: socketDirectory, port: 5432, user: 'postgres', database: 'postgres', ssl: false };
  const client = await connected(settings);
  try {
    await work(client);
  } finally {
    await client.end();
    writeFileSync(rules, usual);
    process.kill(pid, 'SIGHUP');
  }
}

async function baseBackup(from: ClusterPaths, to: string, programs: string): Promise<void> {
  mkdirSync(to);
  for (const name of ['location.json', 'passwords.json'])
    execFileSync('cp', ['-a', join(from.directory, name), to]);
  const { data } = await placeOf(to);
  const as = ['-h', from.socketDirectory, '-U', 'postgres'];
  execFileSync(join(programs, 'pg_basebackup'), [...as, '-D', data, '--checkpoint=fast'], { env: {} });
  execFileSync('chown', ['-R', '--reference', from.data, data]);
}

/** As pg_basebackup makes one: the files between start and stop of a backup, the log of writes, and the label. */
async function copyBetween({ directory, data }: ClusterPaths, to: string, client: Client): Promise<void> {
  await client.query(`select pg_backup_start('copy', true)`);
  execFileSync('cp', ['-a', directory, to]);
  const { rows } = await client.query<{ label: string }>(
    'select labelfile as label from pg_backup_stop(false)',
  );
  const copied = await placeOf(to);
  execFileSync('cp', ['-a', `${data}/pg_wal/.`, join(copied.data, 'pg_wal')]);
  writeFileSync(join(copied.data, 'backup_label'), rows[0]?.label ?? '');
  execFileSync('chown', ['--reference', data, join(copied.data, 'backup_label')]);
  withoutServer(copied);
}

/** As a file system makes one, of all files at one instant: nothing is written while it lasts. */
async function snapshot(system: System, to: string): Promise<void> {
  const directory = join(system.directory, 'postgres');
  const { data } = await placeOf(directory);
  const { pid } = postmasterOf(data);
  // all of the server's processes are of its own session
  const processes = sessionOf(pid);
  for (const each of processes) process.kill(each, 'SIGSTOP');
  try {
    execFileSync('cp', ['-a', directory, to]);
  } finally {
    for (const each of processes) process.kill(each, 'SIGCONT');
  }
  withoutServer(await placeOf(to));
}

/** The processes of a session, by proc(5): pid (comm) state ppid pgrp session ... */
function sessionOf(leader: number): readonly number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((name) => {
      try {
        const text = readFileSync(`/proc/${name}/stat`, 'latin1');
        return Number(text.slice(text.lastIndexOf(')') + 2).split(' ')[3]) === leader;
      } catch {
        return false; // it has ended
      }
    })
    .map(Number);
}

/** On a machine of its own the copy's files would name a process that is none there. */
function withoutServer({ data, socketDirectory }: ClusterPaths): void {
  rmSync(join(data, 'postmaster.pid'), { force: true });
  rmSync(socketDirectory, { recursive: true, force: true });
}

/** The private cluster of this directory. */
export async function placeOf(directory: string): Promise<ClusterPaths> {
  const place = await readPaths(directory);
  if (place === undefined) throw new Error(`no cluster lies in ${directory}`);
  return place;
}

function postmasterOf(data: string): { readonly pid: number } {
  return { pid: Number(readFileSync(join(data, 'postmaster.pid'), 'utf8').split('\n')[0]) };
}

/** The server reads its rules anew a moment after it was told. */
async function connected(settings: ConstructorParameters<typeof Client>[0]): Promise<Client> {
  const tried: Client[] = [];
  await until(async () => {
    const client = new Client(settings);
    try {
      await client.connect();
      return tried.push(client) > 0;
    } catch (error) {
      if ((error as { code?: string }).code !== '28000') throw error;
      return false;
    }
  });
  const [client] = tried;
  if (client === undefined) throw new Error('not connected');
  return client;
}
